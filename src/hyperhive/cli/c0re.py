"""`hive-c0re`: the hive's commands under their older names, with plain lines and no questions."""

import sys
from typing import Annotated

import typer

from hyperhive.cli import cmd_destroy, cmd_rebuild, cmd_serve, cmd_spawn
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.main import run
from hyperhive.cli.options import Agent, ApprovalId, Json
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
    app.command("rebuild")(rebuild)
    app.command("list")(list_agents)
    app.command("pending")(pending)
    app.command("approve")(approve)
    app.command("deny")(deny)
    app.command("destroy")(destroy)
    return app


def request_spawn(name: str, json: Json = False) -> None:
    """Queue a new agent for approval."""
    tell(ask(host.RequestSpawn(name=name)), f"queued a spawn of {name}; `hive-c0re pending` shows it", json=json)


def kill(name: Agent, json: Json = False) -> None:
    """Stop an agent."""
    tell(ask(host.Kill(name=name), doing=f"stopping {name}"), f"stopped {name}", json=json)


def rebuild(name: Agent, json: Json = False) -> None:
    """Make an agent's container anew from what is deployed; its state stays."""
    cmd_rebuild.run([name], json=json)


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


def approve(
    approval: ApprovalId,
    sha: Annotated[
        str | None, typer.Option(metavar="SHA", help="The whole commit that you mean; another one is refused.")
    ] = None,
    json: Json = False,
) -> None:
    """Approve what was pinned, without asking; what was asked for is done at once."""
    tell(ask(host.Approve(id=approval, sha=sha), doing=f"carrying out {approval}"), f"approved {approval}", json=json)


def deny(
    approval: ApprovalId,
    reason: Annotated[str, typer.Option(help="Why; who asked for it is told.")] = "",
    json: Json = False,
) -> None:
    """Deny; nothing is changed."""
    tell(ask(host.Deny(id=approval, reason=reason)), f"denied {approval}", json=json)


def destroy(
    name: Agent,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its state too: no way back.")] = False,
    json: Json = False,
) -> None:
    """Remove an agent, without asking; its state is kept unless --purge is given."""
    cmd_destroy.run(name, purge=purge, yes=True, json=json)
