"""What stands beside the terminal on an agent's page, and what the operator does there."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.datastructures import FormData

from hyperhive.broker.budgets import Amount
from hyperhive.hub.agents import Agent
from hyperhive.hub.directories import has_credentials
from hyperhive.hub.hive import Hive
from hyperhive.hub.status import auth_row
from hyperhive.protocol import host
from hyperhive.protocol.agent import LoginState
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.login_links import trusted_login_url
from hyperhive.web.charts import bars
from hyperhive.web.forms import number, post, text
from hyperhive.web.route import WebRoute
from hyperhive.web.sections import AgentSection, Subject, View

LETTERS: Final = 30
DEPLOYMENTS: Final = 30
FAILED: Final = 5
SETTINGS: Final = 300
MAX_CODE: Final = 4096
MORE: Final = Amount(5.0, 1_000_000)
"""What the page's button adds to a budget."""
_UNDER_WAY: Final = frozenset({LoginState.STARTING, LoginState.WAITING, LoginState.CHECKING})


async def agent_login(hive: Hive, name: str) -> View:
    agent = hive.fleet.get(name)
    login = agent.login
    return {
        "needed": agent.needs_login,
        "rehearsal": hive.fleet.house.rehearsal is not None,
        "of_the_hive": agent.settings.credentials == "hive",
        "account": agent.settings.account,
        "hive_has": hive.credentials.has_for(agent),
        "kept": await asyncio.to_thread(has_credentials, hive.fleet.house.paths, agent.name),
        "directory": str(hive.fleet.house.paths.agent_claude(agent.name)),
        "auth": auth_row(agent, time.time()),
        "login": login,
        "under_way": login is not None and login.state in _UNDER_WAY,
        "is_trusted": login is not None and trusted_login_url(login.url),
        "connected": agent.peer is not None,
    }


async def agent_inbox(hive: Hive, name: str) -> View:
    return {
        "messages": (await hive.mailbox.inbox(name, LETTERS))[::-1],
        "unread": await hive.mailbox.unread(name),
    }


async def agent_ends(hive: Hive, name: str) -> View:
    """What it keeps open, with others and with itself."""
    approvals = await hive.shape.approvals.pending()
    return {
        "questions": await hive.asking.questions.of(name),
        "reminders": await hive.asking.reminders.pending(name),
        "approvals": [row for row in approvals if name in (row.agent, row.requester)],
    }


async def agent_schedules(hive: Hive, name: str) -> View:
    return {"schedules": await hive.scheduling.of(name)}


async def agent_config(hive: Hive, name: str) -> View:
    """What is deployed and what is to be."""
    agent = hive.fleet.get(name)
    deployments = await hive.shape.deployed(name, DEPLOYMENTS)
    config, problem = await _config(hive, agent)
    settings = config.settings[:SETTINGS] if config else []
    live = next((each.id for each in deployments if each.current), 0)
    rows = await hive.shape.approvals.newest(50, name)
    return {
        "config": config,
        "problem": problem,
        "chosen": [each for each in settings if each.source != "default"],
        "defaults": [each for each in settings if each.source == "default"],
        "left_out": len(config.settings) - len(settings) if config else 0,
        "deployments": deployments,
        "pending": [row for row in rows if row.status == "pending"],
        "failed": [row for row in rows if row.status == "failed" and row.id > live][:FAILED],
        "jobs": [job for job in await hive.queue.jobs.unfinished() if job.agent == name],
        "needs_update": hive.fleet.house.needs_update(agent),
    }


async def _config(hive: Hive, agent: Agent) -> tuple[host.AgentConfig | None, str]:
    try:
        return await hive.shape.config(agent.name), agent.config.problem
    except FaultError as fault:
        return None, agent.config.problem or fault.message


async def agent_stats(hive: Hive, name: str) -> View:
    summary = await hive.turns.lately(name, "24h")
    return {"summary": summary, "charts": bars(summary)}


async def agent_budget(hive: Hive, name: str) -> View:
    return {"budget": hive.budgets.rows(name)[0], "more_usd": MORE.usd, "more_tokens": MORE.tokens}


# what is done there


async def top_up(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.budgets.top_up(path["name"], MORE)


async def login_start(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.desk.login_start(path["name"])


async def login_code(hive: Hive, path: dict[str, Any], form: FormData) -> None:
    """The code is handed on and kept nowhere."""
    code = text(form, "code", MAX_CODE).strip()
    if not code or "\n" in code:
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot log in: paste the code that the page of the link shows")
    await hive.desk.login_code(path["name"], code)


async def login_cancel(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.desk.login_cancel(path["name"])


async def rollback(hive: Hive, path: dict[str, Any], form: FormData) -> None:
    await hive.shape.order_rollback(path["name"], number(form, "to"))


def _section(look: Callable[[Hive, str], Awaitable[View]], *about: Subject) -> AgentSection:
    async def of_the_living(hive: Hive, name: str) -> View:
        return await look(hive, name) if name in hive.fleet else {}

    return AgentSection(name=look.__name__, about=frozenset({*about, Subject.LIVES}), look=of_the_living)


AGENT_SECTIONS: Final[tuple[AgentSection, ...]] = (
    _section(agent_login, Subject.AGENTS),
    _section(agent_inbox, Subject.MAIL),
    _section(agent_ends, Subject.AGENTS, Subject.QUESTIONS, Subject.APPROVALS),
    _section(agent_schedules, Subject.AGENTS),
    _section(agent_config, Subject.DEPLOYMENTS, Subject.APPROVALS, Subject.JOBS),
    _section(agent_stats, Subject.TURNS),
    _section(agent_budget, Subject.AGENTS, Subject.TURNS),
)
AGENT_ACTIONS: Final[tuple[WebRoute, ...]] = (
    post("/agents/{name}/login/start", login_start),
    post("/agents/{name}/login/code", login_code),
    post("/agents/{name}/login/cancel", login_cancel),
    post("/agents/{name}/rollback", rollback),
    post("/agents/{name}/budget/top-up", top_up),
)
