"""`hive list`: the agents and how they are."""

from hyperhive.cli.ages import left
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host


def run(json: Json = False) -> None:
    """Show the agents and how they are."""
    answer = ask(host.AgentStatus(), doing="asking the hive")
    if json:
        put_json(answer)
    elif not answer.agent_statuses:
        say("no agents yet; `hive spawn NAME` makes one, `hive demo` shows three at work")
    else:
        put_table(("NAME", "STATE", "MODEL", "UNREAD", "DOING"), [cells(row) for row in answer.agent_statuses])


def cells(row: host.AgentStatusRow) -> tuple[str, ...]:
    return (
        row.name,
        state_of(row),
        row.active_model or "",
        str(row.unread or ""),
        one_line(_doing(row), 80),
    )


def state_of(row: host.AgentStatusRow) -> str:
    """One word for the flags, by the wire's precedence, with the update badge behind it."""
    return (row.state or _state_of_flags(row)) + (" (needs update)" if row.needs_update else "")


def _state_of_flags(row: host.AgentStatusRow) -> str:
    if row.failed:
        return "failed"
    if row.needs_login:
        return "needs_login"
    if row.paused:
        return "paused"
    return "running" if row.running else "stopped"


def _doing(row: host.AgentStatusRow) -> str:
    stuck = f"{row.stuck}, {_remedy(row)}: {row.stuck_note}" if row.stuck else ""
    return row.failure or row.no_room or stuck or _waits_for(row) or row.status_text or row.description or ""


def _remedy(row: host.AgentStatusRow) -> str:
    return f"hive {'restart' if row.stuck in ('deaf', 'unreachable') else 'cancel'} {row.name}"


def _waits_for(row: host.AgentStatusRow) -> str:
    if row.needs_login and row.auth:
        return f"{row.auth.text}; `hive auth login {row.name}`"
    if row.limited_until:
        return f"{row.limit or 'a usage limit holds it'} until {row.limited_until}, {left(row.limited_until)}"
    if row.limit:
        return row.limit
    if row.overloaded_until:
        return f"the model does not answer; tries again {left(row.overloaded_until)}"
    return ""
