"""`hive purge`: the end of what was kept of an agent."""

from typing import Annotated

import typer

from hyperhive.cli.ages import age
from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.cmd_tombstones import size
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json, Yes
from hyperhive.cli.output import CliError, confirm
from hyperhive.protocol import host


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `hive tombstones` shows it.")],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete what was kept of a destroyed agent, for good."""
    stones = ask(host.Tombstones()).tombstones or []
    stone = next((stone for stone in stones if stone.name == name), None)
    if stone is None:
        raise CliError(
            f"nothing was kept of {name}: `hive tombstones` shows of whom; one that lives ends by "
            f"`hive destroy {name} --purge`"
        )
    confirm(_loss(stone), yes=yes)
    tell(carry_out(host.Purge(name=name), [name], doing=f"purging {name}"), f"{name} is gone for good", json=json)


def _loss(stone: host.Tombstone) -> str:
    login = ", its login" if stone.has_credentials else ""
    return (
        f"this deletes {size(stone.size_bytes)} of {stone.name}, {age(stone.last_modified)} old: its config history"
        f"{login}, conversation and notes; nothing can bring them back"
    )
