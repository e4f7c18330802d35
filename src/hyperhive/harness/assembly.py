"""The runner put together, and taken apart again."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from hyperhive import __version__
from hyperhive.harness import watchdog, wire
from hyperhive.harness.agenda import Agenda
from hyperhive.harness.attachment import Attachment
from hyperhive.harness.claude import ClaudeError
from hyperhive.harness.compaction import Compaction
from hyperhive.harness.condition import Condition
from hyperhive.harness.credential import Credential
from hyperhive.harness.init import Children
from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.harness.login import Logins
from hyperhive.harness.mail import Mail
from hyperhive.harness.model import Model
from hyperhive.harness.recall import Recall
from hyperhive.harness.relay import relay
from hyperhive.harness.rest import Rest
from hyperhive.harness.session import Session
from hyperhive.harness.surroundings import CREDENTIALS, MODELS_ADDRESS, Surroundings, tool_groups
from hyperhive.harness.tools.toolbox import Toolbox
from hyperhive.harness.turns import Turns
from hyperhive.harness.upkeep import Upkeep
from hyperhive.protocol import agent
from hyperhive.protocol.agent import (
    Arrived,
    Compact,
    Done,
    Hello,
    ModelSet,
    OverBudget,
    Pause,
    SetModel,
    Shutdown,
    Unstick,
)
from hyperhive.protocol.events import Note
from hyperhive.protocol.rpc import Nothing, Peer
from hyperhive.protocol.settings import AgentDocument

TURN_END_S: Final = 3.0
RELEASE_S: Final = 2.0
DOZE_S: Final = 2.5
FLUSH_S: Final = 1.5
"""The steps of a stop; together they stay below the ten seconds after which the container is killed."""


class Runner:
    """All parts of one harness. Made inside the loop; `run` is called once."""

    def __init__(self, place: Surroundings, document: AgentDocument, children: Children | None = None) -> None:
        """`children` starts and ends all processes; unless it is given they are this process's own."""
        settings = document.settings
        self._place = place
        self._children = children or Children()
        self._children.take_over()
        self._link = Link(place.socket, Hello(boot_id=os.urandom(16).hex(), version=__version__, canary=True))
        self._journal = Journal(self._link, place.events_db)
        self._model = Model(place.model_file, settings)
        self._session = Session(place.session_file)
        self._condition = Condition(
            self._link, self._journal, model=self._model.current, session_id=self._session.id or ""
        )
        self._mail = Mail(self._link)
        self._rest = Rest(
            place=place, document=document, children=self._children, journal=self._journal,
            condition=self._condition, model=self._model, session=self._session,
        )  # fmt: skip
        self._turns = Turns(
            rest=self._rest, mail=self._mail, journal=self._journal, condition=self._condition, settings=settings
        )
        self._recall = Recall(self._link, place.recall_file, name=document.name, role=settings.role)
        self._turns.recall, self._turns.on_recalled = self._recall.text, self._recall.settled
        self._turns.on_forget = self._recall.compacted
        self._toolbox = Toolbox(
            link=self._link, mail=self._mail, turns=self._turns, journal=self._journal, groups=tool_groups(document)
        )
        credentials = place.claude_config / ".credentials.json"
        credential = Credential(
            self._link, wanted=settings.credentials == "hive" and place.rehearsal_socket is None
        )  # fmt: skip
        self._agenda = Agenda(
            link=self._link, mail=self._mail, turns=self._turns, rest=self._rest, condition=self._condition,
            journal=self._journal, document=document, credentials=credentials,
            may_have_login=bool(place.rehearsal_socket or place.credentials or {*CREDENTIALS} & {*settings.env}),
            has_other=lambda: credential.is_there or _gets_in({**place.credentials, **settings.env}, place),
        )  # fmt: skip
        credential.on_change = self._agenda.credential_changed
        self._rest.credential = credential.variables
        self._logins = Logins(
            children=self._children, command=self._rest.login_command, credentials=credentials,
            journal=self._journal, condition=self._condition, on_login=self._agenda.logged_in,
        )  # fmt: skip
        self._compaction = Compaction(
            turns=self._turns, session=self._session, condition=self._condition,
            system_prompt=self._agenda.system_prompt,
        )  # fmt: skip
        self._upkeep = Upkeep(
            turns=self._turns, rest=self._rest, session=self._session, condition=self._condition,
            journal=self._journal, link=self._link, agenda=self._agenda, recall=self._recall,
            settings=settings.session,
        )  # fmt: skip
        self._agenda.after_turn = self._upkeep.after_turn
        self._compaction.on_end = self._agenda.sit_out
        self._attachment = Attachment(
            place=place, turns=self._turns, rest=self._rest, agenda=self._agenda, journal=self._journal
        )
        self._detaching: asyncio.Future[None] | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._grace_s = 0.0
        self._rest.serve = self._serve_worker
        self._rest.tools = self._toolbox.offers
        self._link.on_welcome.append(self._hive_is_back)
        self._serve_hive()

    async def run(self) -> None:
        """Work until told to stop; raises SupersededError when a newer harness has taken over."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._terminate)
        await self._journal.open()
        self._note_warnings()
        try:
            async with AsyncExitStack() as relays, asyncio.TaskGroup() as group:
                await self._relay(relays)
                agenda = group.create_task(self._agenda.run())
                parts = (
                    self._link, self._journal, self._condition, self._mail, self._rest, self._logins, self._compaction,
                    self._upkeep,
                )  # fmt: skip
                tasks = [group.create_task(part.run()) for part in parts]
                tasks.append(group.create_task(watchdog.run(os.environ)))
                await self._stop.wait()
                await self._wind_down(agenda)
                for task in (agenda, *tasks):
                    task.cancel()
        finally:
            self._mail.close()
            await self._children.clear(everything=True)
            await self._journal.close()

    async def _wind_down(self, agenda: "asyncio.Task[None]") -> None:
        """No new turn, an attached operator's end, the turn's, claude's, the last events. Each step is bounded."""
        self._agenda.stop()
        self._compaction.stop()
        await self._attachment.end()
        if self._turns.is_running:
            await self._grace()
        self._mail.close()
        await _within(TURN_END_S, self._end_turn())
        await self._if_up(RELEASE_S, self._mail.release_all("the harness was stopped"))
        agenda.cancel()
        if not await _within(DOZE_S, self._rest.doze()):
            await self._children.clear()
        await self._if_up(FLUSH_S, self._journal.flush())  # else the next runner sends them from the store

    async def _end_turn(self) -> None:
        await self._turns.stop()
        await self._turns.settled()  # which takes a hive that answers

    async def _if_up(self, seconds: float, step: Coroutine[Any, Any, None]) -> None:
        await _within(seconds if self._link.is_up else 0, step)

    async def _grace(self) -> None:
        either = [asyncio.create_task(self._turns.settled()), asyncio.create_task(self._hurry.wait())]
        await asyncio.wait(either, timeout=self._grace_s, return_when=asyncio.FIRST_COMPLETED)
        for task in either:
            task.cancel()

    def _terminate(self) -> None:
        self._hurry.set()
        self._stop.set()

    async def _relay(self, relays: AsyncExitStack) -> None:
        place = self._place
        if place.proxy_socket is not None:
            self._rest.proxy_port = await relays.enter_async_context(relay(place.proxy_port, place.proxy_socket))
        if place.rehearsal_socket is not None:
            port = await relays.enter_async_context(relay(place.rehearsal_port, place.rehearsal_socket))
            self._rest.rehearsal_port = port

    def _note_warnings(self) -> None:
        for warning in (self._model.warning, self._session.warning):
            if warning:
                self._journal.record(Note(text=warning, level="warning"))

    # what the hive and the worker call

    def _serve_hive(self) -> None:
        self._link.serve(agent.ARRIVED, self._arrived)
        self._link.serve(agent.CANCEL, self._cancel)
        self._link.serve(agent.NEW_SESSION, self._new_session)
        self._link.serve(agent.SET_MODEL, self._set_model)
        self._link.serve(agent.COMPACT, self._compact)
        self._link.serve(agent.LOGIN_START, lambda _: self._logins.start())
        self._link.serve(agent.LOGIN_CODE, lambda code: self._logins.take_code(code.code))
        self._link.serve(agent.LOGIN_CANCEL, lambda _: Done(done=self._logins.cancel()))
        self._link.serve(agent.PAUSE, self._pause)
        self._link.serve(agent.ATTACH, self._attachment.begin)
        self._link.serve(agent.DETACH, self._detach)
        self._link.serve(agent.OVER_BUDGET, self._over_budget)
        self._link.serve(agent.UNSTICK, self._unstick)
        self._link.serve(agent.SHUTDOWN, self._shutdown)

    def _serve_worker(self, peer: Peer) -> None:
        peer.serve(wire.SAID, self._turns.said)
        peer.serve(wire.TOOL_REQUEST, self._turns.tool_request)
        peer.serve(wire.BOUNDARY, self._turns.boundary)
        peer.serve(wire.HIVE_TOOL, self._toolbox.use)

    def _arrived(self, arrived: Arrived) -> Nothing:
        self._turns.arrived(arrived)
        return Nothing()

    async def _cancel(self, _: Nothing) -> Done:
        return Done(done=await self._turns.cancel())

    def _new_session(self, _: Nothing) -> Done:
        self._rest.new_session()
        return Done(done=True)

    def _compact(self, compact: Compact) -> Done:
        self._compaction.wish(compact.instructions)
        return Done(done=True)

    async def _set_model(self, wanted: SetModel) -> ModelSet:
        chosen = await self._model.choose(wanted.model)
        if chosen.warning:
            self._journal.record(Note(text=chosen.warning, level="warning"))
        self._condition.model(wanted.model)
        if self._rest.claude is not None:
            try:
                await self._rest.claude.change_model(wanted.model)
            except ClaudeError as error:
                self._journal.record(Note(text=f"the model changes with the next session: {error}", level="warning"))
        return chosen

    def _pause(self, pause: Pause) -> Nothing:
        self._agenda.pause(pause.paused)
        return Nothing()

    def _hive_is_back(self, _: agent.Welcome) -> None:
        """With the connection before this one the hive's word for an operator who is attached was lost."""
        self._detaching = asyncio.ensure_future(self._attachment.end())

    async def _detach(self, _: Nothing) -> Nothing:
        await self._attachment.end()
        return Nothing()

    async def _over_budget(self, over: OverBudget) -> Done:
        if self._compaction.forget():
            text = "the conversation is not compacted: that costs money, and the budget is spent"
            self._journal.record(Note(text=text, level="warning"))
        if done := await self._turns.over_budget():
            self._journal.record(Note(text=over.reason or "the budget is spent", level="warning"))
        return Done(done=done)

    async def _unstick(self, unstick: Unstick) -> Done:
        if done := await self._turns.unstick(unstick.step, unstick.reason):
            self._journal.record(Note(text=f"{unstick.step.replace('_', ' ')}: {unstick.reason}", level="warning"))
        return Done(done=done)

    def _shutdown(self, shutdown: Shutdown) -> Nothing:
        self._grace_s = shutdown.grace_seconds
        self._stop.set()
        return Nothing()


def _gets_in(env: Mapping[str, str], place: Surroundings) -> bool:
    """Whether claude has something in its environment that goes before a login."""
    secrets = {*CREDENTIALS} - {MODELS_ADDRESS}
    return place.rehearsal_socket is not None or any(
        name in secrets or name.startswith("CLAUDE_CODE_USE_") for name in env
    )


async def _within(seconds: float, step: Coroutine[Any, Any, None]) -> bool:
    """Whether the step came to its end in time."""
    try:
        async with asyncio.timeout(seconds):
            await step
    except TimeoutError:
        return False
    return True
