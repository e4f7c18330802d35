"""What the hive tells a harness about its agent: `agent.json`, read-only in the container.

The same value is what an `agent.toml` is validated into, so one schema serves every backend.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

DEFAULT_MODEL: Final = "haiku"
BUILT_IN_TOOLS: Final = ("Bash", "Edit", "Glob", "Grep", "Read", "Write")

Seconds = Annotated[int, Meta(ge=0, le=365 * 86400)]
Host = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"^[a-z0-9.*-]+(:[0-9]{1,5})?$")]
PackageName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9+.-]{1,63}$")]
ToolGroup = Literal["lifecycle", "approvals", "diagnostics"]
TOOL_GROUPS: Final[tuple[ToolGroup, ...]] = ("lifecycle", "approvals", "diagnostics")
"""Of the manager's tools: run state of others, requests for the operator, others' logs."""
EnvName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]


class Tools(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    built_in: tuple[str, ...] = BUILT_IN_TOOLS
    bash_allow: list[str] = []  #: patterns such as "git *"; empty allows every command
    bash_deny: list[str] = []


class McpServer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    command: str
    args: list[str] = []
    env: dict[EnvName, str] = {}
    allowed_tools: tuple[str, ...] = ("*",)


class NetworkSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mode: Literal["none", "allowlist", "host"] = "allowlist"
    allow: list[Host] = []  #: hosts beyond those claude itself needs, `host` (port 443) or `host:port`


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes take a number of bytes or a number with K, M, G; cpu a percentage of one core."""

    memory: str = "4G"
    cpu: str = "200%"
    pids: Annotated[int, Meta(ge=16, le=65536)] = 1024
    tmp: str = "64M"


class Packages(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    apt: list[PackageName] = []  #: Debian packages in the container; on backends that can install them


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to the agent at set times: `every` so many seconds, or by `cron` in `timezone`."""

    message: Annotated[str, Meta(min_length=1, max_length=4096)]
    every: Annotated[int, Meta(ge=60, le=365 * 86400)] | None = None
    cron: Annotated[str, Meta(max_length=100)] | None = None
    timezone: Annotated[str, Meta(max_length=64)] = "UTC"


class AgentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: Annotated[str, Meta(min_length=1, max_length=200)] = DEFAULT_MODEL
    system_prompt: Annotated[str, Meta(max_length=65536)] = ""  #: added to the hive's own
    description: Annotated[str, Meta(max_length=500)] = ""  #: what the agent is for, shown to the others
    role: Literal["agent", "manager"] = "agent"  #: a manager has all tool groups
    parent: Annotated[str, Meta(max_length=31)] = ""  #: the agent that steers this one; empty: the manager
    tool_groups: list[ToolGroup] = []  #: manager's tools it may use, on the agents whose parent it is
    allowed_recipients: list[str] = []  #: empty: everyone
    tools: Tools = Tools()
    mcp_servers: dict[str, McpServer] = {}
    env: dict[EnvName, str] = {}
    network: NetworkSettings = NetworkSettings()
    limits: LimitSettings = LimitSettings()
    packages: Packages = Packages()
    schedule: dict[str, Schedule] = {}
    sleep_after: Seconds = 300  #: seconds without work until claude is released
    deep_sleep_after: Seconds = 0  #: seconds of dozing until the container is stopped; 0: never


class AgentDocument(Struct, frozen=True, kw_only=True):
    """The content of `agent.json`."""

    name: str
    settings: AgentSettings
    peers: list[str] = []
    tool_groups: list[str] = []  #: that the agent has by its role and its settings
    deployed_sha: str = ""  #: the commit that the settings are from
