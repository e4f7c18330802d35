"""An agent's row in the roster, as clients and pages see it."""

from datetime import UTC, datetime

from msgspec import UNSET

from hyperhive.hub.agents import Agent, Phase
from hyperhive.protocol.events import Rest
from hyperhive.protocol.host import AgentStatusRow
from hyperhive.protocol.ids import container_name


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def state(agent: Agent) -> str:
    """One word for it all, by precedence: failed, needs_login, paused, budget, rate_limited, then its container."""
    if agent.phase is Phase.FAILED:
        return "failed"
    if agent.needs_login:
        return "needs_login"
    if agent.row.paused:
        return "paused"
    if agent.over_budget:
        return "budget"
    if agent.limited_until:
        return "rate_limited"
    if agent.phase is Phase.STOPPED and agent.row.asleep:
        return str(Rest.ASLEEP)
    if agent.phase is Phase.RUNNING:
        return agent.turn_state if agent.turn_state != "idle" else agent.rest
    return agent.phase


def status_row(
    agent: Agent,
    unread: int,
    *,
    reminders: int = 0,
    needs_update: bool = False,
    parent: str = "",
    cost_today_usd: float = 0.0,
) -> AgentStatusRow:
    shown = agent.running and agent.status_text
    return AgentStatusRow(
        name=agent.name,
        running=agent.running,
        failed=agent.phase is Phase.FAILED,
        needs_update=needs_update,
        needs_login=agent.needs_login,
        deployed_sha=agent.row.deployed_sha[:12] or UNSET,
        pending_reminders=reminders,
        paused=agent.row.paused,
        parent=parent or UNSET,
        active_model=agent.model or UNSET,
        status_text=agent.status_text if shown else UNSET,
        status_set_at=rfc3339(agent.status_set_at) if shown else UNSET,
        role=agent.settings.role,
        container=container_name(agent.name),
        wanted=agent.wanted,
        state=state(agent),
        rest=Rest.ASLEEP if agent.row.asleep and not agent.running else agent.rest,
        turn_state=agent.turn_state,
        unread=unread,
        description=agent.row.description or UNSET,
        failure=agent.failure or UNSET,
        context_tokens=agent.context_tokens or UNSET,
        limited_until=rfc3339(agent.limited_until) if agent.limited_until else UNSET,
        login=agent.login or UNSET,
        cost_today_usd=cost_today_usd or UNSET,
        over_budget=agent.over_budget or UNSET,
        backend=agent.row.backend,
    )
