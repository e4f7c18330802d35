"""Scripts as data: TOML or JSON, checked whole, with every fault reported."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from hyperhive.rehearsal import template
from hyperhive.rehearsal.script import AnyStep, Script, Turn

MAX_FILE: Final = 1 << 20


class ScriptError(Exception):
    """A script that cannot be played; the text names the file and lists every fault."""

    def __init__(self, source: str, faults: list[str]) -> None:
        super().__init__("\n  ".join([f"cannot play the script {source}:", *faults]))
        self.faults = faults


def read(path: Path) -> Script:
    """The script in a `.toml` or `.json` file; raises ScriptError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ScriptError(str(path), [error.strerror or str(error)]) from None
    if len(data) > MAX_FILE:
        raise ScriptError(str(path), [f"it is larger than {MAX_FILE} bytes"])
    return parse(data, source=str(path), is_json=path.suffix == ".json")


def parse(data: bytes, *, source: str, is_json: bool = False) -> Script:
    """The script in the text of a file; raises ScriptError."""
    try:
        document = json.loads(data) if is_json else tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ScriptError(source, [f"not {'JSON' if is_json else 'TOML'}: {error}"]) from None
    if found := list(faults(document)):
        raise ScriptError(source, found)
    return msgspec.convert(document, Script)


def faults(document: object) -> list[str]:
    """Everything that is wrong with a script's document; nothing when it can be played."""
    found = [fault for place, turn in _turns(document) for fault in _turn_faults(place, turn)]
    if not found:
        found = [f"{fault}" for fault in _misfits(document, Script)]
    return found or list(_names(msgspec.convert(document, Script)))


def _turns(document: object) -> Iterator[tuple[str, Any]]:
    for number, agent in enumerate(_items(document, "agents")):
        name = agent.get("name", number) if isinstance(agent, dict) else number
        for place, turn in enumerate(_items(agent, "turns")):
            yield f"agent {name!r}, turn {place + 1}", turn


def _items(table: object, key: str) -> list[Any]:
    items = table.get(key) if isinstance(table, dict) else None
    return items if isinstance(items, list) else []


def _turn_faults(place: str, turn: Any) -> Iterator[str]:
    steps = _items(turn, "steps")
    misfits = [
        f"{place}, step {number + 1}: {fault}"
        for number, step in enumerate(steps)
        for fault in _misfits(step, AnyStep)
    ]
    yield from misfits
    if not misfits:
        yield from (f"{place}: {fault}" for fault in _misfits(turn, Turn) or _text_faults(msgspec.convert(turn, Turn)))


def _misfits(value: object, kind: Any) -> list[str]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [str(error)]
    return []


def _text_faults(turn: Turn) -> Iterator[str]:
    try:
        pattern = re.compile(turn.when)
    except re.error as error:
        yield f"`when` is not a regular expression: {error}"
        return
    known = {*template.BUILT_IN, *pattern.groupindex}
    used = set(template.fields_in(msgspec.to_builtins(turn.steps)))
    for field in sorted(used - known):
        yield f"unknown field {{{{{field}}}}}; there are: {', '.join(sorted(known))}"


def _names(script: Script) -> Iterator[str]:
    names = [agent.name for agent in script.agents]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"agent {name!r} is there twice"
    if script.opening and script.opening.to not in names:
        yield f"the opening is to {script.opening.to!r}, who is no agent of the script"
    if script.ending and script.ending not in names:
        yield f"the ending is by {script.ending!r}, who is no agent of the script"
