"""An agent's page: how it is, its terminal, a place to write to it, and what stands beside them."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hyperhive.hub.hive import Hive
from hyperhive.hub.status import status_row
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import MANAGER, known_form
from hyperhive.web.agent_actions import COMMANDS, FORGET, models
from hyperhive.web.agent_sections import AGENT_SECTIONS
from hyperhive.web.live import Live, merged, position_in, streaming
from hyperhive.web.pages import page
from hyperhive.web.route import WebRoute, hive_of, number_in
from hyperhive.web.sections import SECTIONS, AgentSection, Section, Subject, View, can_cancel, can_start, path_of


async def agent_header(hive: Hive, name: str) -> View:
    """How the agent is; of one that is no more, what is left of it."""
    if name not in hive.fleet:
        return {"row": None, "kept": await _is_kept(hive, name)}
    agent = hive.fleet.get(name)
    row = status_row(
        agent, await hive.mailbox.unread(agent.name), needs_update=hive.fleet.house.needs_update(agent),
        cost_today_usd=(await hive.turns.spent_today()).get(name, 0.0),
    )  # fmt: skip
    return {
        "row": row,
        "latest": await hive.turns.latest(name),
        "parent": agent.parent,
        "parent_is_here": agent.parent in hive.fleet,
        "model": agent.model or agent.settings.model,
        "models": models(agent),
        "context_tokens": agent.context_tokens,
        "forget": FORGET.format(name),
        "job": next((job for job in await hive.queue.jobs.unfinished() if job.agent == agent.name), None),
        "is_manager": agent.name == MANAGER,
        "can_start": can_start(agent),
        "can_cancel": can_cancel(agent),
    }


async def _is_kept(hive: Hive, name: str) -> bool:
    return any(stone.name == name for stone in await hive.fleet.tombstones())


HEADER: Final = AgentSection(
    name="agent_header",
    about=frozenset({Subject.AGENTS, Subject.LIVES, Subject.MAIL, Subject.JOBS, Subject.TURNS, Subject.DEPLOYMENTS}),
    look=agent_header,
)
WAITING: Final = next(section for section in SECTIONS if section.name == "waiting")


def sections_of(name: str) -> tuple[Section, ...]:
    """All of an agent's page that is kept up to date, but for its terminal."""
    return (WAITING, HEADER.of(name), *(section.of(name) for section in AGENT_SECTIONS))


async def agent(request: Request) -> Response:
    hive = hive_of(request)
    try:
        shown = hive.fleet.get(path_of(request)["name"])
    except FaultError as fault:
        return await page(request, "gone.html", 404, text=await _why_not(hive, path_of(request)["name"], fault))
    following: Live = request.app.state.live
    with following.agent(shown.name) as watched:
        return await page(
            request, "agent.html", name=shown.name, terminal=await watched.terminal.latest(),
            sections=await watched.board.frames(), position=watched.board.position,
            beside=[section.name for section in AGENT_SECTIONS], commands=COMMANDS, models=models(shown),
        )  # fmt: skip


async def _why_not(hive: Hive, name: str, fault: FaultError) -> str:
    if await _is_kept(hive, name):
        return f"{name} was destroyed. What it had is kept as a tombstone, and the overview can revive it."
    return fault.message


async def agent_live(request: Request) -> Response:
    """The one stream of an agent's page: its sections, as those of the overview, and its terminal behind `after`. It
    goes on when the agent is gone, to say so."""
    try:
        name = known_form(path_of(request)["name"])
    except FaultError as fault:
        return PlainTextResponse(f"{fault.message}\n", 404)
    after = number_in(request.query_params.get("after", "")) or 0
    chunks = _stream(request.app.state.live, name, position_in(request), after)
    return streaming(request, chunks)


async def _stream(following: Live, name: str, position: str, after: int) -> AsyncGenerator[bytes, None]:
    with following.agent(name) as watched:
        chunks = merged(watched.board.stream(position), watched.terminal.stream(after))
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk


AGENT_PAGES: Final[tuple[WebRoute, ...]] = (
    WebRoute(path="/agents/{name}", handler=agent),
    WebRoute(path="/agents/{name}/live", handler=agent_live),
)
