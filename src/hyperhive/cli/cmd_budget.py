"""`hive budget`: what agents and the hive may spend, and what they spent."""

from typing import Annotated, Final

import typer
from msgspec import UNSET, UnsetType

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json, complete_agents
from hyperhive.cli.output import CliError, put, put_json, put_table
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host

_COLUMNS: Final = ("NAME", "TODAY", "THIS MONTH", "TOKENS TODAY", "TOKENS THIS MONTH", "")


def run(
    name: Annotated[
        str | None, typer.Argument(help="Of one agent; without it, all.", autocompletion=complete_agents)
    ] = None,
    hive: Annotated[bool, typer.Option("--hive", help="The whole hive rather than one agent.")] = False,
    top_up: Annotated[
        float, typer.Option(metavar="USD", min=0, help="So much more may be spent today, and this month.")
    ] = 0.0,
    top_up_tokens: Annotated[int, typer.Option(metavar="N", min=0, help="The same in tokens.")] = 0,
    day: Annotated[
        str | None, typer.Option(metavar="USD", help="With --hive: what all may spend in a day; none: no bound.")
    ] = None,
    month: Annotated[str | None, typer.Option(metavar="USD", help="With --hive: the same in a month.")] = None,
    day_tokens: Annotated[str | None, typer.Option(metavar="N", help="With --hive: in a day, in tokens.")] = None,
    month_tokens: Annotated[str | None, typer.Option(metavar="N", help="With --hive: in a month, in tokens.")] = None,
    warn_at: Annotated[
        float | None, typer.Option(metavar="PART", min=0, max=1, help="With --hive: when you are warned, as 0.8.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what was spent and may be, add to it, or bound the whole hive. An agent's own is in its config."""
    limits = (day, month, day_tokens, month_tokens, warn_at)
    sets = any(value is not None for value in limits)
    if name and hive:
        raise CliError("say an agent's name or --hive, not both")
    if sets and not hive:
        raise CliError("the budget of one agent is in its config, as [budget]; for the whole hive say --hive")
    if (top_up or top_up_tokens) and not (name or hive):
        raise CliError("say whose budget is topped up: an agent's name or --hive")
    orders: list[host.AnyRequest] = []
    if sets:
        orders.append(
            host.SetHiveBudget(
                day_usd=_usd(day),
                month_usd=_usd(month),
                day_tokens=_count(day_tokens),
                month_tokens=_count(month_tokens),
                warn_at=UNSET if warn_at is None else warn_at,
            )
        )
    if top_up or top_up_tokens:
        orders.append(host.TopUp(name=name, usd=top_up, tokens=top_up_tokens))
    answer = [ask(order) for order in orders or [host.Budgets(name=name)]][-1]
    if json:
        put_json(answer)
    else:
        _show([row for row in answer.budgets or [] if not (hive and row.agent)])


def _show(rows: list[host.BudgetRow]) -> None:
    put_table(_COLUMNS, [_cells(row) for row in rows])
    for row in rows:
        if row.over:
            whose = row.agent or "--hive"
            put(f"{row.agent or 'the hive'}: {one_line(row.over, 200)}; `hive budget {whose} --top-up USD` adds to it")


def _cells(row: host.BudgetRow) -> tuple[str, ...]:
    return (
        row.agent or "(the hive)",
        _of(row.day.spent_usd, row.day.usd, "${:.2f}"),
        _of(row.month.spent_usd, row.month.usd, "${:.2f}"),
        _of(row.day.spent_tokens, row.day.tokens, "{}"),
        _of(row.month.spent_tokens, row.month.tokens, "{}"),
        "spent" if row.over else "",
    )


def _of(spent: float, limit: float | UnsetType, form: str) -> str:
    return form.format(spent) if limit is UNSET else f"{form.format(spent)} of {form.format(limit)}"


def _usd(text: str | None) -> float | UnsetType | None:
    return _number(text, float)


def _count(text: str | None) -> int | UnsetType | None:
    number = _number(text, int)
    return number if number is None or number is UNSET else int(number)


def _number(text: str | None, sort: type[float] | type[int]) -> float | UnsetType | None:
    if text is None:
        return UNSET
    if text == "none":
        return None
    try:
        number = sort(text)
    except ValueError:
        raise CliError(f"{one_line(text, 40)!r} is no number; `none` takes a bound away") from None
    if not 0 <= number <= 10**15:
        raise CliError(f"{one_line(text, 40)!r} is not within what a budget can be")
    return number
