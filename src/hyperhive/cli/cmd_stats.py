"""`hive stats`: turns, and what they cost."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json, complete_agents
from hyperhive.cli.output import CliError, put, put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host

_TABLES: Final = ("agents", "causes", "models")


class Window(StrEnum):
    """Of the time up to now."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"


def run(
    name: Annotated[
        str | None, typer.Argument(help="Of one agent; without it, all.", autocompletion=complete_agents)
    ] = None,
    window: Annotated[Window, typer.Option(help="Of which time up to now.")] = Window.DAY,
    json: Json = False,
) -> None:
    """Show how many turns there were, how they ended, how long they took and what they cost."""
    answer = ask(host.Stats(name=name, window=window.value))
    if json:
        put_json(answer)
        return
    if not isinstance(answer.stats, host.TurnStats):
        raise CliError("the hive says nothing about turns; it is older than this command")
    if answer.stats.turns:
        _show(answer.stats)
        for row in answer.budgets or []:
            counted = f"{_usd(row.day.spent_usd)} today, {_usd(row.month.spent_usd)} this month"
            put(f"counted     {counted}: by the hive itself, for budgets; the cost above is claude's own estimate")
    else:
        say(f"no turn ended in the last {window}")


def _show(stats: host.TurnStats) -> None:
    put(f"turns       {stats.turns} ({_shares(stats.outcomes)})")
    put(f"cost        {_usd(stats.cost_usd)}")
    put(f"tokens      {stats.input_tokens} in, {stats.output_tokens} out")
    put(f"the cache   {stats.cache_read_tokens} tokens read, {stats.cache_creation_tokens} written")
    put(f"took        half of them at most {stats.p50_s:.1f} s, 95 % at most {stats.p95_s:.1f} s")
    put(f"tool calls  {stats.tool_calls}, {stats.tool_calls / stats.turns:.1f} in a turn")
    for title in _TABLES:
        shares: list[host.TurnShare] = getattr(stats, title)
        put_table((title[:-1].upper(), "TURNS", "COST"), [_cells(each) for each in shares])


def _shares(shares: list[host.TurnShare]) -> str:
    return ", ".join(f"{each.turns} {one_line(each.name, 40)}" for each in shares)


def _cells(each: host.TurnShare) -> tuple[str, ...]:
    return (one_line(each.name, 40) or "-", str(each.turns), _usd(each.cost_usd))


def _usd(cost: float) -> str:
    return f"${cost:.2f}"
