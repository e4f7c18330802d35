"""What the schema of agent.toml can't tell: whether this hive can do what the settings ask for."""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Final, TypeVar

from hyperhive.containers.egress_rules import Allowed
from hyperhive.containers.spec import Limits
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, OPERATOR, SYSTEM, closest, known_form
from hyperhive.protocol.settings import AgentSettings, LimitSettings

_MAX_FAULTS: Final = 50
_HIVES_OWN: Final = re.compile(
    r"HYPERHIVE_(?!LOGIN_CMD\Z).*|HOME|PATH|PWD|TMPDIR|IS_SANDBOX|CLAUDE_CONFIG_DIR|CLAUDE_CODE_(TMPDIR|ENTRYPOINT)|ANTHROPIC_BASE_URL"
    r"|CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC|DISABLE_AUTO_COMPACT|ENABLE_TOOL_SEARCH"
    r"|(?i:HTTPS?_PROXY|ALL_PROXY|NO_PROXY)"
)
_HIVE_SERVER: Final = "hyperhive"
_Value = TypeVar("_Value")


def check(
    name: str,
    settings: AgentSettings,
    *,
    backend: BackendKind,
    agents: Collection[str],
    accounts: Collection[str] = (),
    of: str = "agent.toml",
) -> None:
    """Whether the agent can have these settings here, `agents` and `accounts` being those there are; `of` is the file.

    Raises FaultError (`bad_config`) that lists every fault, at most 50, one a line.
    """
    found = [
        *_of_limits(settings.limits),
        *_of_network(settings),
        *_of_packages(settings, backend),
        *_of_init(settings, backend),
        *_of_place(name, settings, agents),
        *_of_account(settings, accounts),
        *_of_names(settings),
    ]
    if found:
        more = [f"and {len(found) - _MAX_FAULTS} more"] if len(found) > _MAX_FAULTS else []
        listed = "".join(f"\n  {fault}" for fault in [*found[:_MAX_FAULTS], *more])
        raise FaultError(FaultKind.BAD_CONFIG, f"cannot use {of} for {name!r}:{listed}")


def _of_limits(limits: LimitSettings) -> Iterator[str]:
    for one in (
        LimitSettings(memory=limits.memory),
        LimitSettings(cpu=limits.cpu),
        LimitSettings(tmp=limits.tmp),
        LimitSettings(disk_max=limits.disk_max),
    ):
        yield from _refusal(Limits.from_settings, one)


def _of_network(settings: AgentSettings) -> Iterator[str]:
    for host in settings.network.allow:
        for reason in _refusal(Allowed.parse, host):
            yield f"network.allow: {reason}"


def _of_packages(settings: AgentSettings, backend: BackendKind) -> Iterator[str]:
    names = ", ".join(settings.packages.apt)
    if names and backend is BackendKind.BUBBLEWRAP:
        yield f"packages.apt: the bubblewrap backend cannot install packages: {names}; use nspawn or nixos"
    if names and backend is BackendKind.NIXOS:
        yield f"packages.apt: the nixos backend has no Debian packages: {names}; name them in agent.nix"


def _of_init(settings: AgentSettings, backend: BackendKind) -> Iterator[str]:
    if settings.init == "systemd" and backend is BackendKind.BUBBLEWRAP:
        yield "init: the bubblewrap backend has no service manager; use nspawn, or take the key out"
    if settings.init == "systemd" and backend is BackendKind.NIXOS:
        yield "init: on the nixos backend it is always systemd; take the key out"


def _of_place(name: str, settings: AgentSettings, agents: Collection[str]) -> Iterator[str]:
    """Its place among the others."""
    if name == MANAGER and settings.role != "manager":
        yield f'role: the agent {MANAGER!r} is always a manager; write role = "manager"'
    if name == MANAGER and settings.parent:
        yield f"parent: the agent {MANAGER!r} has none; take the key out"
    elif settings.parent == name:
        yield "parent: an agent cannot be its own parent"
    elif settings.parent and settings.parent not in {*agents, MANAGER}:
        yield f"parent: there is no agent {settings.parent!r}; {closest(settings.parent, agents)}"


def _of_account(settings: AgentSettings, accounts: Collection[str]) -> Iterator[str]:
    if settings.account is None:
        return
    if settings.credentials != "hive":
        yield 'account: it is one of the hive\'s; write credentials = "hive", too'
    if settings.account not in accounts:
        there_are = f"there are {', '.join(sorted(accounts))}" if accounts else "the daemon's settings have none"
        yield f"account: there is no account {settings.account!r}; {there_are}"


def _of_names(settings: AgentSettings) -> Iterator[str]:
    for recipient in settings.allowed_recipients:
        if recipient == SYSTEM:
            yield f"allowed_recipients: the hive reads no mail to {SYSTEM!r}"
        elif recipient != OPERATOR:
            for reason in _refusal(known_form, recipient):
                yield f"allowed_recipients: {reason}"
    if _HIVE_SERVER in settings.mcp_servers:
        yield f"mcp_servers.{_HIVE_SERVER}: that is the hive's own server; give yours another name"
    for variable in settings.env:
        if _HIVES_OWN.fullmatch(variable):
            yield f"env.{variable}: the hive sets that variable itself, and the container depends on it; take it out"


def _refusal(parse: Callable[[_Value], object], value: _Value) -> Iterator[str]:
    try:
        parse(value)
    except FaultError as fault:
        yield fault.message
