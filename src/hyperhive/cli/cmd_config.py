"""`hive config`: what an agent is, and where each setting comes from."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import CliError, put, put_json, put_table, say
from hyperhive.cli.safe import exact
from hyperhive.protocol import host


def run(
    name: Agent,
    toml: Annotated[bool, typer.Option("--toml", help="Print the deployed agent.toml instead.")] = False,
    json: Json = False,
) -> None:
    """Show an agent's settings as they are in effect, and where each comes from."""
    answer = ask(host.Config(name=name))
    if json:
        put_json(answer)
    elif not answer.config:
        raise CliError(f"the hive does not say what is deployed to {name}")
    elif toml:
        put(answer.config.text.removesuffix("\n"))
    else:
        put_table(("KEY", "VALUE", "FROM"), [_cells(setting) for setting in answer.config.settings])
        say(f"{answer.config.tag} {answer.config.sha}; `hive edit {name}` changes it")


def _cells(setting: host.Setting) -> tuple[str, ...]:
    source = f"{setting.source}:{setting.line}" if setting.line else setting.source
    return (setting.key, exact(setting.value), source)
