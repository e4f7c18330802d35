"""agent.toml: what the operator or the manager writes about an agent, into the settings its harness gets."""

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from hyperhive.config import schema, timetable, toml_lines
from hyperhive.config.toml_lines import KeyPath
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import DEFAULT_MODEL, AgentSettings

FILE: Final = "agent.toml"
MAX_BYTES: Final = 256 * 1024

_MAX_FAULTS: Final = 50
_PLACE = re.compile(r"(?P<reason>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)

_HEAD: Final = """\
# What this agent is; docs/agent-toml.md has every key. A change is a commit:
# it takes effect when the operator approves it.

"""
_MANAGER: Final = """
# Whom it may write to is not limited: without allowed_recipients it is everyone.
"""
_AGENT: Final = """
# system_prompt = "..."                # instructions, added to the hive's own
# allowed_recipients = ["operator"]    # without it: everyone; the manager always
# [network]
# allow = ["example.org"]              # hosts beyond those that claude needs
"""


def parse(text: str, *, beneath: Mapping[str, Any] = MappingProxyType({})) -> AgentSettings:
    """The settings; raises FaultError (`bad_config`) that lists every fault, at most 50, each with its line.

    `beneath` is a table whose values hold where the text has none. The largest hostile texts keep a processor busy for
    about a second: call it off the loop.
    """
    table = _table(text)
    found = [*itertools.islice(schema.faults(table, AgentSettings), _MAX_FAULTS + 1)]
    if found:
        raise _bad_lines(found, toml_lines.lines(text))
    try:
        settings = msgspec.convert(_over(beneath, schema.plain(table, AgentSettings)), AgentSettings)
    except msgspec.ValidationError as error:
        raise _bad(str(error).replace(" - at `$.", " - at `")) from None
    if found := [
        fault for name, one in settings.schedule.items() for fault in timetable.faults(one, ("schedule", name))
    ]:
        raise _bad_lines(found, toml_lines.lines(text))
    return settings


def from_json(data: bytes, *, beneath: Mapping[str, Any] = MappingProxyType({})) -> AgentSettings:
    """The settings out of a system's agent.json, with the keys of agent.toml; raises FaultError (`bad_config`)."""
    try:
        table = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"what its system says is no JSON: {error}") from None
    if found := [*itertools.islice(schema.faults(table, AgentSettings), _MAX_FAULTS + 1)]:
        raise _bad_lines(found, {})
    try:
        return msgspec.convert(_over(beneath, schema.plain(table, AgentSettings)), AgentSettings)
    except msgspec.ValidationError as error:
        raise _bad(str(error).replace(" - at `$.", " - at `")) from None


def template(*, model: str | None, description: str, role: str = "agent") -> str:
    """The first agent.toml of an agent. A NUL in the description, which no config can have, is left out."""
    lines = [_HEAD]
    if description := description.replace("\0", ""):
        lines.append(f"description = {schema.toml(description)}\n")
    lines.append(f"model = {schema.toml(model or DEFAULT_MODEL)}\n")
    if role != "agent":
        lines.append(f"role = {schema.toml(role)}\n")
    lines.append(_MANAGER if role == "manager" else _AGENT)
    return "".join(lines)


def sources(text: str, *, beneath: Mapping[str, Any] = MappingProxyType({})) -> list[host.Setting]:
    """Every key with its value in effect and where that is from; raises FaultError as `parse` does."""
    settings = parse(text, beneath=beneath)
    places = {schema.plain_path(path, AgentSettings): line for path, line in toml_lines.lines(text).items()}
    return [
        host.Setting(
            key=".".join(path),
            value=schema.toml(value),
            source="agent.toml" if path in places else "default",
            line=places.get(path, msgspec.UNSET),
        )
        for path, value in schema.values(settings)
    ]


def _table(text: str) -> dict[str, Any]:
    """The text as TOML has it. What would keep the parser busy for minutes does not reach it."""
    if len(text) > MAX_BYTES or len(data := _utf8(text)) > MAX_BYTES:
        raise _bad(f"it is larger than {MAX_BYTES} bytes")
    if crowded := toml_lines.crowded_line(text):
        raise _bad(f"line {crowded}: keys nested too deeply, with more than {toml_lines.MAX_DOTS} dots in a line")
    try:
        return tomllib.loads(data.decode())
    except RecursionError:
        raise _bad("it is nested too deeply") from None
    except ValueError as error:  # also of numbers with too many digits, which the parser leaves to int()
        raise _bad(_syntax_fault(str(error), last_line=text.count("\n") + 1)) from None


def _over(beneath: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """The table, and what lies beneath where it has nothing."""
    deeper = {key: _over(below, table.get(key, {})) for key, below in beneath.items() if isinstance(below, Mapping)}
    return {**beneath, **table, **deeper}


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _bad(
            f"line {text.count(chr(10), 0, error.start) + 1}: half a character, which UTF-8 does not have"
        ) from None


def _syntax_fault(said: str, *, last_line: int) -> str:
    """What the parser says, with the line in front as in every other fault."""
    place = _PLACE.fullmatch(said)
    if not place:
        return "a number has too many digits"
    if not place["line"]:
        return f"line {last_line}: {place['reason']}"
    return f"line {place['line']}: {place['reason']}, at column {place['column']}"


def _bad_lines(found: Sequence[schema.Fault], places: Mapping[KeyPath, int]) -> FaultError:
    more = [f"and more than these {_MAX_FAULTS}"] if len(found) > _MAX_FAULTS else []
    listed = sorted(((_line(fault.path, places), fault.text) for fault in found[:_MAX_FAULTS]), key=lambda one: one[0])
    words = [f"line {line}: {text}" if line else text for line, text in listed]
    return _bad("".join(f"\n  {one}" for one in [*words, *more]))


def _line(path: KeyPath, places: Mapping[KeyPath, int]) -> int:
    """Of the key, else of the table that it should be in; 0 where there is none."""
    return next((places[path[:end]] for end in range(len(path), 0, -1) if path[:end] in places), 0)


def _bad(reason: str) -> FaultError:
    return FaultError(FaultKind.BAD_CONFIG, f"cannot use {FILE}:{'' if reason.startswith(chr(10)) else ' '}{reason}")
