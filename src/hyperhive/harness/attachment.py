"""While the operator has the agent's conversation to themselves: no turn runs, no mail is leased."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any, Final

import msgspec

from hyperhive.harness.agenda import Agenda
from hyperhive.harness.attach import PID, PLAN
from hyperhive.harness.command import put_private
from hyperhive.harness.journal import Journal
from hyperhive.harness.rest import Rest
from hyperhive.harness.surroundings import Surroundings
from hyperhive.harness.turns import Turns
from hyperhive.protocol.agent import Attach
from hyperhive.protocol.events import Note
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.rpc import Nothing

INTERRUPT_S: Final = 5.0
HANGUP_S: Final = 3.0
_MAX_CONFIG: Final = 4 << 20


class Attachment:
    """Begun and ended by the hive, which knows whether the operator is still there."""

    def __init__(self, *, place: Surroundings, turns: Turns, rest: Rest, agenda: Agenda, journal: Journal) -> None:
        self._place = place
        self._turns = turns
        self._rest = rest
        self._agenda = agenda
        self._journal = journal
        self._lasts = False
        self._changing = asyncio.Lock()

    async def begin(self, attach: Attach) -> Nothing:
        """From its return on nobody but the operator is in the conversation. Raises FaultError (`wrong_state`)."""
        async with self._changing:
            if self._lasts:
                raise FaultError(FaultKind.WRONG_STATE, "cannot attach: somebody is attached already")
            is_at_work = self._turns.is_running or self._turns.current is not None
            if is_at_work and not attach.interrupt:
                raise FaultError(
                    FaultKind.WRONG_STATE,
                    "cannot attach: a turn is under way; wait for its end, or end it with --interrupt",
                )
            self._lasts = True
            self._agenda.attached(True)
            await self._interrupt()
            await self._turns.claim.acquire()
            try:
                await self._rest.doze()
                await self._prepare()
            except BaseException:
                self._let_go()
                raise
        self._journal.record(Note(text="the operator has attached: mail waits"))
        return Nothing()

    async def end(self) -> None:
        """The loop goes on; an operator's claude that is still there is ended first. Harmless when none lasts."""
        async with self._changing:
            if not self._lasts:
                return
            await self._hang_up()
            await asyncio.to_thread(self._clear)
            self._let_go()
        self._journal.record(Note(text="the operator has detached"))

    def _let_go(self) -> None:
        self._lasts = False
        self._turns.claim.release()
        self._agenda.attached(False)

    async def _interrupt(self) -> None:
        """Its messages go back unharmed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INTERRUPT_S):
                if await self._turns.stop():
                    await self._turns.settled()
                return
        await self._rest.kill()

    async def _prepare(self) -> None:
        command = await self._rest.interactive(await self._agenda.system_prompt())
        plan = {"argv": command.argv, "env": command.env, "cwd": str(self._place.state)}
        folder = self._place.claude_tmp
        try:
            await asyncio.to_thread(_answer_questions, self._place.claude_config / ".claude.json", plan)
            await asyncio.to_thread(put_private, folder / PLAN, msgspec.json.encode(plan).decode())
        except (OSError, ValueError) as error:
            raise FaultError(FaultKind.INTERNAL, f"cannot prepare claude to be attached to: {error}") from error

    async def _hang_up(self) -> None:
        try:
            number = int((await asyncio.to_thread((self._place.claude_tmp / PID).read_bytes))[:20])
            process = os.pidfd_open(number)
        except (OSError, ValueError):
            return  # it has ended, as it should
        try:
            for order in (signal.SIGHUP, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, order)
                if await _ended(process, HANGUP_S):
                    return
        finally:
            os.close(process)

    def _clear(self) -> None:
        for name in (PLAN, PID):
            (self._place.claude_tmp / name).unlink(missing_ok=True)


async def _ended(process: int, seconds: float) -> bool:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, over.set)
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(process)
    return True


def _answer_questions(file: Path, plan: dict[str, Any]) -> None:
    """What claude asks of somebody who meets it for the first time in a terminal: the hive has decided all of it."""
    import json  # only here: few agents are attached to

    try:
        with file.open("rb") as opened:
            known = json.loads(opened.read(_MAX_CONFIG))
    except FileNotFoundError:
        known = {}
    known.setdefault("theme", "dark")
    known["hasCompletedOnboarding"] = True
    known.setdefault("projects", {}).setdefault(plan["cwd"], {})["hasTrustDialogAccepted"] = True
    if key := plan["env"].get("ANTHROPIC_API_KEY"):
        answers = known.setdefault("customApiKeyResponses", {"approved": [], "rejected": []})
        answers["approved"] = sorted({*answers.get("approved", []), key[-20:]})
    put_private(file, json.dumps(known))
