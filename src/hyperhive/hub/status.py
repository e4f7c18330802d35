"""An agent's row in the roster, as clients and pages see it."""

import time
from datetime import UTC, datetime

from msgspec import UNSET

from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.watchdog import words
from hyperhive.protocol.agent import AuthState, Window
from hyperhive.protocol.events import Rest
from hyperhive.protocol.host import AgentStatusRow, AuthStatus, WindowRow
from hyperhive.protocol.ids import container_name


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def state(agent: Agent, now: float | None = None) -> str:
    """One word for it all: what comes first here holds, and its container's state when nothing else does.

    `now`: Unix seconds; None: as the host's clock says.
    """
    if agent.phase is Phase.FAILED:
        return "failed"
    if agent.no_room:
        return "no_room"
    if agent.needs_login:
        return "needs_login"
    if agent.episode is not None:
        return "stuck"
    if agent.row.paused:
        return "paused"
    if agent.over_budget:
        return "budget"
    if agent.limited_until:
        return "rate_limited"
    if agent.is_overloaded(time.time() if now is None else now):
        return "overloaded"
    if agent.phase is Phase.STOPPED and agent.row.asleep:
        return str(Rest.ASLEEP)
    if agent.phase is Phase.RUNNING:
        return agent.turn_state if agent.turn_state != "idle" else agent.rest
    return agent.phase


def limit_words(agent: Agent, now: float) -> str:
    """What the operator reads about the usage limit that holds it; empty when none does."""
    if not agent.limited_until:
        return ""
    what = "the rest of its account's window is yours" if agent.row.limited_for == "reserve" else "its usage limit"
    by = f", says {agent.row.limited_by}, who uses the hive's credential, too" if agent.row.limited_by else ""
    if agent.asks:
        return f"{what} held it; that is over, and it waits for your word: `hive resume {agent.name}`"
    if agent.limited_until <= now:
        return f"{what} held it{by}; that is over, and it goes on in a moment"
    return f"{what} holds it{by}"


def auth_words(agent: Agent, state: str) -> str:
    """What the operator reads about a login in this state."""
    whose = "the hive's credential" if agent.settings.credentials == "hive" else "its login"
    return {
        "ok": "claude has a login",
        "lapsed": "claude renews its access at the next turn, by itself",
        "renewal_failed": "claude could not renew its login, and has given it up",
        "none": "claude was never logged in",
        "refused": f"{whose} was refused",
    }.get(state, "")


def auth_row(agent: Agent, now: float) -> AuthStatus | None:
    """What its harness says of its login, and whether it has lapsed meanwhile, which harms nothing."""
    auth = agent.auth
    if auth is None:
        return None
    state = "lapsed" if auth.state == AuthState.OK and 0 < auth.renews_at <= now else auth.state
    return AuthStatus(
        state=state,
        text=auth_words(agent, state),
        valid_until=rfc3339(auth.valid_until) if auth.valid_until else UNSET,
        note=auth.note or UNSET,
    )


def window_row(window: Window) -> WindowRow:
    return WindowRow(
        name=window.name,
        percent=round(min(window.utilization, 1.0) * 100),
        resets_at=rfc3339(window.resets_at),
    )


def status_row(
    agent: Agent,
    unread: int,
    *,
    reminders: int = 0,
    needs_update: bool = False,
    parent: str = "",
    cost_today_usd: float = 0.0,
    now: float | None = None,
) -> AgentStatusRow:
    """A time that is past by `now` is not in it: what it was waited for has come, or will in a moment."""
    shown = agent.running and agent.status_text
    now = time.time() if now is None else now
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
        state=state(agent, now),
        rest=Rest.ASLEEP if agent.row.asleep and not agent.running else agent.rest,
        turn_state=agent.turn_state,
        unread=unread,
        description=agent.row.description or UNSET,
        failure=agent.failure or UNSET,
        context_tokens=agent.context_tokens or UNSET,
        limited_until=rfc3339(agent.limited_until) if agent.limited_until > now else UNSET,
        limit=limit_words(agent, now) or UNSET,
        limit_asks=agent.asks or UNSET,
        overloaded_until=rfc3339(agent.overloaded_until) if agent.is_overloaded(now) else UNSET,
        windows=[window_row(window) for window in agent.windows if window.resets_at > now] or UNSET,
        login=agent.login or UNSET,
        auth=auth_row(agent, now) or UNSET,
        cost_today_usd=cost_today_usd or UNSET,
        over_budget=agent.over_budget or UNSET,
        no_room=agent.no_room or UNSET,
        disk_bytes=UNSET if agent.disk_bytes is None else agent.disk_bytes,
        stuck=agent.episode.stuck if agent.episode else UNSET,
        stuck_note=words(agent.episode) if agent.episode else UNSET,
        backend=agent.row.backend,
    )
