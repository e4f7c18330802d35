"""What the hive tells a harness about its agent: `agent.json`, read-only in the container.

The same value is what an `agent.toml` is validated into, so one schema serves every backend.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

DEFAULT_MODEL: Final = "haiku"
BUILT_IN_TOOLS: Final = ("Bash", "Edit", "Glob", "Grep", "Read", "Write")

Seconds = Annotated[int, Meta(ge=0, le=365 * 86400)]
Host = Annotated[
    str, Meta(min_length=1, max_length=253, pattern=r"^[a-z0-9.*-]+(:[0-9]{1,5})?\Z", title="a host or host:port")
]
PackageName = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9+.-]{0,62}[a-z0-9+.]\Z", title="the name of a Debian package")
]
ToolName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}\Z", title="the name of a tool, such as Bash")]
ToolGroup = Literal["lifecycle", "approvals", "diagnostics"]
TOOL_GROUPS: Final[tuple[ToolGroup, ...]] = ("lifecycle", "approvals", "diagnostics")
"""Of the manager's tools: run state of others, requests for the operator, others' logs."""
SYSTEMS: Final = "systems"
"""What all agents' systems on NixOS are made from: a group that no config gives. The manager has it, where there are
such systems."""
EnvName = Annotated[
    str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=128, title="letters, digits and _, no digit first")
]
EntryName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9]([_-]?[A-Za-z0-9]){0,31}\Z", title="letters, digits, and single - or _ between them"),
]
"""Of an MCP server or a schedule. No double underscore: it parts server and tool in the names of tools."""
ModelName = Annotated[
    str,
    Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]*\Z", title="the name of a model"),
]
ContainerPath = Annotated[
    str, Meta(max_length=4096, pattern=r"^/[^\x00-\x1f]*\Z", title="the absolute path of a directory in the container")
]


AccountName = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}\Z", title="lower-case letters, digits and dashes, a letter first")
]


class Tools(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    built_in: Annotated[
        tuple[ToolName, ...], Meta(max_length=64, description="claude's own tools that exist for the agent")
    ] = BUILT_IN_TOOLS
    bash_allow: Annotated[
        list[str],
        Meta(
            max_length=500,
            description="patterns of commands; empty allows all. Each command of a line is judged by itself; `git *` "
            "also stands for a bare `git`; commands inside others (`$(...)`) are then refused",
        ),
    ] = []
    bash_deny: Annotated[
        list[str],
        Meta(
            max_length=500,
            description="patterns of commands that are refused. A guard rail for claude, no wall: the container is "
            "the wall",
        ),
    ] = []


class McpServer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    command: Annotated[
        str, Meta(min_length=1, description="program of an MCP server that claude starts in the container")
    ]
    args: Annotated[list[str], Meta(max_length=500, description="its arguments")] = []
    env: Annotated[dict[EnvName, str], Meta(max_length=200, description="its environment")] = {}
    allowed_tools: Annotated[
        tuple[str, ...], Meta(max_length=200, description="patterns of its tools that may be used")
    ] = ("*",)


class NetworkSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mode: Annotated[
        Literal["none", "allowlist", "host"],
        Meta(
            description="`none`; `allowlist`: through the hive's proxy to named hosts only; `host`: the host's own "
            "network, its loopback services included"
        ),
    ] = "allowlist"
    allow: Annotated[
        list[Host],
        Meta(
            max_length=500,
            description="hosts beyond those that claude needs: `host` (port 443), `*.host` or `host:port`",
        ),
    ] = []


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes take a number of bytes or a number with K, M, G; cpu a percentage of one core."""

    memory: Annotated[
        str, Meta(description="at most so much; a number of bytes, or with K, M, G, T. At least 32M")
    ] = "4G"
    cpu: Annotated[str, Meta(description="percentage of one core")] = "200%"
    pids: Annotated[int, Meta(ge=16, le=65536, description="processes and threads, 16 to 65536")] = 1024
    tmp: Annotated[
        str, Meta(description="of each file system in memory: `/tmp`, the home directory, `/dev/shm`. At least 1M")
    ] = "64M"
    disk_max: Annotated[
        str,
        Meta(
            description="what it may keep on the hive's disk: in `/state` and `~/.claude`, and in `/shared` where the "
            "hive runs as root; one that has more is stopped. At least 1M; empty: no bound of its own"
        ),
    ] = ""


Usd = Annotated[float, Meta(ge=0, le=1_000_000)]
Tokens = Annotated[int, Meta(ge=0, le=10**15)]


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be spent in a day and a month of the hive's time zone; without a number it is not bounded."""

    day_usd: Annotated[Usd, Meta(description="US dollars that it may spend in a day")] | None = None
    month_usd: Annotated[Usd, Meta(description="the same in a month")] | None = None
    day_tokens: (
        Annotated[Tokens, Meta(description="tokens in a day, sent and received, the cache's included")] | None
    ) = None
    month_tokens: Annotated[Tokens, Meta(description="the same in a month")] | None = None
    warn_at: Annotated[
        float, Meta(ge=0, le=1, description="part of any of them at which the agent and the operator are warned")
    ] = 0.8


class SessionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a conversation has become too long. The agent writes its notes before it is compacted or ended."""

    compact_at: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="part of the model's context window: a conversation that is longer than that after a turn is "
            "compacted; 0: never. A window may be a million tokens, and each request pays for all that is in it",
        ),
    ] = 0.75
    compact_at_tokens: (
        Annotated[int, Meta(ge=20_000, le=10**9, description="the same in tokens: what comes first counts")] | None
    ) = None
    notes_within: Annotated[
        Seconds,
        Meta(description="seconds that the agent has for its notes before that; 0: it is not asked for any"),
    ] = 300
    reset_after: Annotated[
        Seconds,
        Meta(description="seconds without work until a large conversation is ended and a new one begins; 0: never"),
    ] = 0
    reset_at_tokens: Annotated[
        int, Meta(ge=1000, le=10**9, description="what a large one is for `reset_after`, in tokens")
    ] = 100_000


class StuckSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """From when on the hive takes the agent to be stuck, and does something about it."""

    silent_after: Annotated[
        Seconds, Meta(description="seconds of a turn in which nothing comes from claude; 0: never")
    ] = 900
    tool_after: Annotated[
        Seconds, Meta(description="the same while a tool call is under way, at least `silent_after`; 0: never")
    ] = 3600
    loop_after: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="times in a row that the same tool is called with the same input; ten times as often where a "
            "tool is there to be asked again, as `recv`; 0: never",
        ),
    ] = 20
    canary_every: Annotated[
        Seconds,
        Meta(
            description="seconds without mail after which the hive tries whether mail would come through; it wakes "
            "nobody and costs no tokens; 0: never"
        ),
    ] = 3600


class Packages(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    apt: Annotated[
        list[PackageName],
        Meta(max_length=500, description="Debian packages in the container. Only the nspawn backend can install them"),
    ] = []


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to the agent at set times: `every` so many seconds, or by `cron` in `timezone`."""

    message: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4096,
            description="a message from `system` that the agent gets at set times, and that begins a turn",
        ),
    ]
    every: Annotated[int, Meta(ge=60, le=365 * 86400, description="seconds from one to the next")] | None = None
    cron: (
        Annotated[
            str,
            Meta(
                max_length=100,
                description="or the times, as cron writes them, in five fields",
            ),
        ]
        | None
    ) = None
    timezone: Annotated[str, Meta(max_length=64, description="of `cron`, such as `Europe/Berlin`")] = "UTC"


class AgentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="the model it begins with; `hive model` chooses another, and that choice is kept in the "
            "agent's state",
        ),
    ] = DEFAULT_MODEL
    available_models: Annotated[
        list[ModelName],
        Meta(
            max_length=100,
            description="the models that may be chosen for it with `hive model` and on the dashboard, beside `model`; "
            "empty: any",
        ),
    ] = []
    effort: (
        Annotated[
            Literal["low", "medium", "high", "xhigh", "max"],
            Meta(description="how hard the model thinks; without it, as claude has it for the model"),
        ]
        | None
    ) = None
    system_prompt: Annotated[str, Meta(max_length=65536, description="your instructions, added to the hive's own")] = (
        ""
    )
    description: Annotated[str, Meta(max_length=500, description="what the agent is for; the other agents see it")] = (
        ""
    )
    role: Annotated[
        Literal["agent", "manager"],
        Meta(description="`agent` or `manager`: messages of a manager are marked as such, and it has all tool groups"),
    ] = "agent"
    parent: Annotated[str, Meta(max_length=31, description="the agent that steers this one; empty: the manager")] = ""
    tool_groups: Annotated[
        list[ToolGroup],
        Meta(
            max_length=16,
            description="tools of the manager's that it may use, on agents whose `parent` it is: `lifecycle`, "
            "`approvals`, `diagnostics`",
        ),
    ] = []
    allowed_recipients: Annotated[
        list[str],
        Meta(
            max_length=500,
            description="whom it may write to; empty: everyone. The manager can always be written to, `operator` "
            "only when listed. The hive enforces it",
        ),
    ] = []
    credentials: Annotated[
        Literal["own", "hive"],
        Meta(
            description="whose credential claude uses: `own`: the agent's own login; `hive`: the one of "
            "`hive auth set`, while there is one. Whatever runs in the container can read it"
        ),
    ] = "own"
    account: (
        Annotated[
            AccountName,
            Meta(
                description='with `credentials = "hive"`: which of the accounts in the daemon\'s settings; without '
                "it, the credential of `hive auth set`"
            ),
        ]
        | None
    ) = None
    resume: Annotated[
        Literal["auto", "ask", "never"],
        Meta(
            description="after a usage limit: `auto`: it goes on by itself when the limit ends; `ask`: it then waits "
            "for your `hive resume`; `never`: it is paused when it comes to a limit"
        ),
    ] = "auto"
    init: Annotated[
        Literal["runner", "systemd"],
        Meta(
            description="what runs first in the container: `runner`: the harness, and nothing else; `systemd`: a "
            "service manager with the harness as one of its services. Only the nspawn backend has it"
        ),
    ] = "runner"
    tools: Tools = Tools()
    mcp_servers: Annotated[dict[EntryName, McpServer], Meta(max_length=64)] = {}
    claude_plugins: Annotated[
        list[ContainerPath],
        Meta(
            max_length=64,
            description="directories in the container with plugins of claude's, each with what claude finds there: "
            "hooks; skills and commands when `Skill` is among `tools.built_in`, agents when `Task` is. Their MCP "
            "servers are not started: write them as `[mcp_servers.NAME]`",
        ),
    ] = []
    env: Annotated[
        dict[EnvName, str],
        Meta(
            max_length=200,
            description="variables of claude and what it starts. They are readable in the container; so is a secret "
            "among them",
        ),
    ] = {}
    network: NetworkSettings = NetworkSettings()
    limits: LimitSettings = LimitSettings()
    budget: Budget = Budget()
    session: SessionSettings = SessionSettings()
    stuck: StuckSettings = StuckSettings()
    packages: Packages = Packages()
    schedule: Annotated[dict[EntryName, Schedule], Meta(max_length=64)] = {}
    sleep_after: Annotated[
        Seconds,
        Meta(
            description="seconds without work until claude is released; the runner stays and the next message wakes it"
        ),
    ] = 300
    deep_sleep_after: Annotated[
        Seconds,
        Meta(
            description="seconds of dozing until the container is stopped, too; 0: never. The next message starts it"
        ),
    ] = 0

    def offers(self, model: str) -> bool:
        """Whether the agent may be given that model."""
        return not self.available_models or model in (self.model, *self.available_models)


class AgentDocument(Struct, frozen=True, kw_only=True):
    """The content of `agent.json`."""

    name: str
    settings: AgentSettings
    peers: list[str] = []
    tool_groups: list[str] = []  #: that the agent has by its role and its settings
    deployed_sha: str = ""  #: the commit that the settings are from
