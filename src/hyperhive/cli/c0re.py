"""`hive-c0re`: the hive's commands under their older names, with plain lines and no questions."""

import sys
from typing import Annotated

import typer

from hyperhive.cli import cmd_approve, cmd_deny, cmd_destroy, cmd_rebuild, cmd_serve, cmd_spawn
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.main import run
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import put, put_json
from hyperhive.protocol import host


def main() -> int:
    """The entry point of `hive-c0re`."""
    return run(make_app(), sys.argv[1:])


def make_app() -> typer.Typer:
    app = typer.Typer(help="The hive's daemon and its admin commands.", no_args_is_help=True,
                      pretty_exceptions_enable=False)  # fmt: skip
    app.command("serve")(cmd_serve.run)
    app.command("spawn")(cmd_spawn.run)
    app.command("request-spawn")(request_spawn)
    app.command("kill")(kill)
    app.command("rebuild")(cmd_rebuild.run)
    app.command("list")(list_agents)
    app.command("pending")(pending)
    app.command("approve")(cmd_approve.run)
    app.command("deny")(cmd_deny.run)
    app.command("destroy")(destroy)
    return app


def request_spawn(name: str, json: Json = False) -> None:
    """Queue a new agent for approval."""
    tell(ask(host.RequestSpawn(name=name)), f"queued a spawn of {name}; `hive-c0re pending` shows it", json=json)


def kill(name: Agent, json: Json = False) -> None:
    """Stop an agent."""
    tell(ask(host.Kill(name=name), doing=f"stopping {name}"), f"stopped {name}", json=json)


def list_agents(json: Json = False) -> None:
    """Print the agents' names."""
    answer = ask(host.List())
    if json:
        put_json(answer)
        return
    for name in answer.agents or []:
        put(name)


def pending(json: Json = False) -> None:
    """Print the approval queue: id, agent, kind and commit."""
    answer = ask(host.Pending())
    if json:
        put_json(answer)
        return
    for row in answer.approvals or []:
        if row.status == "pending":
            put(f"{row.id} {row.agent} {row.kind} {row.commit_ref}".rstrip())


def destroy(
    name: Agent,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its state too: no way back.")] = False,
    json: Json = False,
) -> None:
    """Remove an agent, without asking; its state is kept unless --purge is given."""
    cmd_destroy.run(name, purge=purge, yes=True, json=json)
