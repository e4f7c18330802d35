"""One schedule of an agent.toml put in, changed or taken out; every other line stays as it was written."""

import tomllib
from collections.abc import Iterator
from typing import Final

from msgspec import structs

from hyperhive.config import agent_toml, schema, toml_lines
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import Schedule

_TABLE: Final = "schedule"


def with_schedule(text: str, name: str, schedule: Schedule | None) -> str:
    """The text with this schedule, None for none of that name. What else it means is checked to be the same.

    Raises FaultError: `bad_config` for a schedule that can't be, or where the text has its schedules in a form that
    only a person should change; `unknown_schedule` when there is none to take out. Call it off the loop.
    """
    before = agent_toml.parse(text)
    if schedule is None and name not in before.schedule:
        raise FaultError(FaultKind.UNKNOWN_SCHEDULE, f"cannot take out schedule {name!r}: the config has none")
    kept = "".join(_without(text, name))
    edited = kept if schedule is None else f"{kept.rstrip()}\n\n{_written(name, schedule)}".lstrip()
    wanted = {key: one for key, one in before.schedule.items() if key != name}
    if schedule is not None:
        wanted[name] = schedule
    if _parsed(edited, name) != structs.replace(before, schedule=wanted):
        raise _by_hand(name)
    return edited


def _parsed(edited: str, name: str) -> object:
    try:
        return agent_toml.parse(edited)
    except FaultError as fault:
        if f"{_TABLE}.{name}" in fault.message or "larger than" in fault.message or "at most" in fault.message:
            raise
        raise _by_hand(name) from None


def _without(text: str, name: str) -> Iterator[str]:
    """All statements but those of the table `[schedule.NAME]`."""
    inside = False
    for statement in toml_lines.statements(text):
        if statement.lstrip().startswith("["):
            inside = _is_header(statement, name)
        if not inside:
            yield statement


def _is_header(statement: str, name: str) -> bool:
    return tomllib.loads(statement) == {_TABLE: {name: {}}}


def _written(name: str, schedule: Schedule) -> str:
    keys = {key: value for key, value in structs.asdict(schedule).items() if value is not None}
    if schedule.cron is None:
        keys.pop("timezone")
    lines = [f"{key} = {schema.toml(value)}\n" for key, value in keys.items()]
    return f"[{_TABLE}.{name}]\n{''.join(lines)}"


def _by_hand(name: str) -> FaultError:
    return FaultError(
        FaultKind.BAD_CONFIG,
        f"cannot edit schedule {name!r} in {agent_toml.FILE}: it has its schedules in a form of its own; "
        "commit the change to the agent's config repository and propose the commit",
    )
