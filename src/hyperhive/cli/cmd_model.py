"""`hive model`: which model an agent thinks with."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import CliError, put, put_json
from hyperhive.protocol import host


def run(
    name: Agent,
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Without it: show the model.")] = None,
    json: Json = False,
) -> None:
    """Show or choose an agent's model; the choice outlives restarts and rebuilds."""
    if model is None:
        _show(name, json=json)
        return
    answer = ask(host.SetModel(name=name, model=model))
    tell(answer, f"{name} thinks with {answer.model or model} from its next turn on", json=json)


def _show(name: str, *, json: bool) -> None:
    rows = [row for row in ask(host.AgentStatus()).agent_statuses or [] if row.name == name]
    if not rows:
        raise CliError(f"there is no agent {name!r}; `hive list` shows them")
    if json:
        put_json(host.Response(agent_statuses=rows, model=rows[0].active_model))
    else:
        put(rows[0].active_model or "not known yet: it has not run")
