"""What a change of settings makes possible that was not before: warnings for the operator who decides on it."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from hyperhive.containers.egress_rules import Allowed
from hyperhive.containers.spec import Limits
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.settings import (
    TOOL_GROUPS,
    AgentSettings,
    Budget,
    LimitSettings,
    McpServer,
    Schedule,
    StuckSettings,
)

_NAMED: Final = 12
_SHOWN: Final = 100
_WIDTH: Final = {"none": 0, "allowlist": 1, "host": 2}
_SECRET_NAME = re.compile(
    r"(key|token|secret|passw(or)?d|passphrase|credential|cookie|auth|(?<![a-z])(pass|pat|pwd))s?(?=_|\d|$)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"(?<![A-Za-z0-9])(sk-|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|A[KS]IA|AIza|eyJ)[A-Za-z0-9_-]{8}"
    r"|-----BEGIN|://[^/\s:@]*:[^/\s@]+@|(?i:bearer|basic)\s+\S{8}"
)
_LONG_WORD = re.compile(r"[A-Za-z0-9+]{20,}")


def warnings(before: AgentSettings | None, after: AgentSettings, *, other_files: Sequence[str] = ()) -> list[str]:
    """One line each, the gravest first; `before` None compares with the defaults, `other_files` are paths beside
    agent.toml that the change touches. No value that looks like a secret is in them.
    """
    old = before or AgentSettings()
    return [
        *_of_network(old, after),
        *_of_rank(old, after),
        *_of_recipients(old.allowed_recipients, after.allowed_recipients),
        *_of_servers(old.mcp_servers, after.mcp_servers),
        *_gained("loads plugins, whose hooks run in its container", old.claude_plugins, after.claude_plugins),
        *_of_tools(old, after),
        *_of_secrets(old, after),
        *_of_limits(old.limits, after.limits),
        *_of_budget(old.budget, after.budget),
        *_of_stuck(old.stuck, after.stuck),
        *_gained("installs packages", old.packages.apt, after.packages.apt),
        *_of_prompt(old.system_prompt, after.system_prompt),
        *_of_schedules(old.schedule, after.schedule),
        *_of_files(other_files),
    ]


def _of_network(old: AgentSettings, new: AgentSettings) -> Iterator[str]:
    before, after = old.network.mode, new.network.mode
    if _WIDTH[after] > _WIDTH[before]:
        reach = "all that the host reaches, its own services included" if after == "host" else "named hosts"
        yield f"network.mode: {before} becomes {after}, which reaches {reach}"
    if after == "allowlist":
        known = [*_entries(old.network.allow)] if before == "allowlist" else []
        hosts = [host for host in new.network.allow if before != "host" and not _is_reached(host, known)]
        yield from _gained("may reach new hosts", (), hosts)


def _entries(hosts: Iterable[str]) -> Iterator[Allowed]:
    """Those that can be read: the others reach nothing."""
    for host in hosts:
        with contextlib.suppress(FaultError):
            yield Allowed.parse(host)


def _is_reached(host: str, known: Sequence[Allowed]) -> bool:
    return any(old == new or old.covers(new.host, new.port) for new in _entries([host]) for old in known)


def _of_budget(old: Budget, new: Budget) -> Iterator[str]:
    for name in ("day_usd", "month_usd", "day_tokens", "month_tokens"):
        before, after = getattr(old, name), getattr(new, name)
        if before is not None and (after is None or after > before):
            yield f"budget.{name}: {before:g} becomes {'no bound' if after is None else f'{after:g}'}"


def _of_stuck(old: StuckSettings, new: StuckSettings) -> Iterator[str]:
    for name in StuckSettings.__struct_fields__:
        if getattr(old, name) and not getattr(new, name):
            yield f"stuck.{name}: 0, the hive does not look for that any more"


def _of_rank(old: AgentSettings, new: AgentSettings) -> Iterator[str]:
    if new.role != old.role and new.role == "manager":
        yield "becomes a manager: it has all of the manager's tools, for the agents whose parent it is"
    had = TOOL_GROUPS if old.role == "manager" else old.tool_groups
    yield from _gained("gains tool groups", had, new.tool_groups)
    if new.parent != old.parent:
        yield f"is steered by {_quoted(new.parent or 'manager')}, before by {_quoted(old.parent or 'manager')}"


def _of_recipients(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    if old and not new:
        yield f"may write to everyone, before only to {_listed(old)}"
    elif old:
        yield from _gained("may write to more", old, new)


def _of_servers(old: dict[str, McpServer], new: dict[str, McpServer]) -> Iterator[str]:
    for name, server in new.items():
        before = old.get(name)
        command = _command(server)
        if before is None:
            yield f"new MCP server {_quoted(name)} runs {command}, tools {_listed(server.allowed_tools)}"
            continue
        if (before.command, before.args) != (server.command, server.args):
            yield f"MCP server {_quoted(name)} runs {command}, before {_command(before)}"
        changed = [key for key, value in server.env.items() if before.env.get(key) != value]
        yield from _gained(f"MCP server {_quoted(name)} has another environment", (), changed)
        if "*" not in before.allowed_tools:
            yield from _gained(
                f"MCP server {_quoted(name)} offers more tools", before.allowed_tools, server.allowed_tools
            )


def _command(server: McpServer) -> str:
    """The command line; words that look like secrets are left out."""
    return _quoted(" ".join([server.command, *_masked(server.args)]))


def _masked(words: Sequence[str]) -> Iterator[str]:
    """The words of a command, with … for what looks like a secret by itself or by the option before it."""
    is_named = False
    for word in words:
        name, equals, value = word.partition("=")
        names_secret = bool(_SECRET_NAME.search(name.replace("-", "_")))
        if is_named or _looks_secret(word):
            yield "…"
        else:
            yield f"{name}=…" if value and names_secret else word
        is_named = names_secret and name.startswith("-") and not equals


def _of_tools(old: AgentSettings, new: AgentSettings) -> Iterator[str]:
    yield from _gained("gains claude's own tools", old.tools.built_in, new.tools.built_in)
    allowed, allows = old.tools.bash_allow, new.tools.bash_allow
    if allowed and not allows:
        yield f"may run every command, before only {_listed(allowed)}"
    elif allowed:
        yield from _gained("may run more commands", allowed, allows)
    yield from _gained("commands no longer denied", new.tools.bash_deny, old.tools.bash_deny)


def _of_secrets(old: AgentSettings, new: AgentSettings) -> Iterator[str]:
    if new.credentials == "hive" and old.credentials != "hive":
        yield "gets the hive's own credential: whatever runs in its container can read it and use it"
    if new.credentials == "hive" and new.account != old.account:
        whose = f"account {_quoted(new.account)}" if new.account else "the credential of `hive auth set`"
        yield f"spends from {whose}, before from {_quoted(old.account) if old.account else 'another one'}"
    names = [name for name, value in new.env.items() if old.env.get(name) != value and _is_secret(name, value)]
    for server, entry in new.mcp_servers.items():
        before = old.mcp_servers.get(server, McpServer(command="-"))
        for name, value in entry.env.items():
            if before.env.get(name) != value and _is_secret(name, value):
                names.append(f"{server}.{name}")
        if entry.args != before.args and [*_masked(entry.args)] != entry.args:
            names.append(f"{server}.args")
    if names:
        yield f"looks like a secret, which stays in the config's history: {_listed(names)}"


def _is_secret(name: str, value: str) -> bool:
    return bool(value) and (bool(_SECRET_NAME.search(name)) or _looks_secret(value))


def _looks_secret(value: str) -> bool:
    """Whether it begins as known keys do, or has a long word of letters and digits mixed."""
    words = _LONG_WORD.findall(value)
    return bool(_SECRET_VALUE.search(value)) or any(
        re.search(r"\d", word) and re.search(r"\D", word) for word in words
    )


def _of_limits(old: LimitSettings, new: LimitSettings) -> Iterator[str]:
    for name, read in _LIMITS.items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after and read(new) > read(old):
            yield f"limits.{name}: {before or 'no bound'} becomes {after or 'no bound'}"


def _limit(field: str, measure: Callable[[Limits], float]) -> Callable[[LimitSettings], float]:
    """How much the limit is; what cannot be read is more than anything."""

    def read(settings: LimitSettings) -> float:
        try:
            return measure(Limits.from_settings(LimitSettings(**{field: getattr(settings, field)})))
        except FaultError:
            return float("inf")

    return read


_LIMITS: Final = {
    "memory": _limit("memory", lambda limits: limits.memory_bytes),
    "cpu": _limit("cpu", lambda limits: limits.cpu_percent),
    "pids": _limit("pids", lambda limits: limits.pids),
    "tmp": _limit("tmp", lambda limits: limits.tmp_bytes),
    "disk_max": _limit("disk_max", lambda limits: float("inf") if limits.disk_bytes is None else limits.disk_bytes),
}


def _of_prompt(old: str, new: str) -> Iterator[str]:
    """Counts lines without regard to their order: a real diff of hostile texts can take minutes."""
    if old != new:
        before, after = Counter(old.splitlines()), Counter(new.splitlines())
        yield f"system prompt changed: {(after - before).total()} lines new, {(before - after).total()} gone"


def _of_schedules(old: Mapping[str, Schedule], new: Mapping[str, Schedule]) -> Iterator[str]:
    changed = [f"{name} ({_rule(one)})" for name, one in new.items() if old.get(name) != one]
    yield from _gained("new messages as from the hive itself, each of which begins a turn", (), changed)


def _rule(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.timezone}" if schedule.every is None else f"every {schedule.every} s"


def _of_files(paths: Sequence[str]) -> Iterator[str]:
    code = [path for path in paths if path.endswith(".nix")]
    if code:
        yield f"changes what is code: {_listed(code)}"
    yield from _gained("changes files beside agent.toml", code, paths)


def _gained(what: str, old: Collection[str], new: Iterable[str]) -> Iterator[str]:
    known = frozenset(old)
    if more := [one for one in dict.fromkeys(new) if one not in known]:
        yield f"{what}: {_listed(more)}"


def _listed(words: Sequence[str]) -> str:
    shown = ", ".join(map(_quoted, words[:_NAMED]))
    return f"{shown} and {len(words) - _NAMED} more" if len(words) > _NAMED else shown


def _quoted(text: str) -> str:
    """On one line and short, whatever is in it; as it is when nothing could be mistaken."""
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return cut if re.fullmatch(r"[\w@./:*+-]+…?", cut, re.ASCII) else json.dumps(cut)
