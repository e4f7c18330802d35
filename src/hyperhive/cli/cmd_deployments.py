"""`hive deployments`: what an agent was, and is."""

from hyperhive.cli.ages import age
from hyperhive.cli.diff_rows import SHORT
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Show an agent's deployments, the newest first."""
    answer = ask(host.Deployments(name=name))
    if json:
        put_json(answer)
    elif not answer.deployments:
        say(f"nothing has been deployed to {name} yet")
    else:
        put_table(("ID", "TAG", "COMMIT", "AGE", "CURRENT", "WHY"), [_cells(each) for each in answer.deployments])
        say(f"`hive rollback {name} ID` deploys an earlier one again")


def _cells(each: host.Deployment) -> tuple[str, ...]:
    current = "yes" if each.current else ""
    return (str(each.id), each.tag, each.sha[:SHORT], age(each.deployed_at), current, one_line(each.description, 80))
