"""When the next turn begins: mail is leased while nothing stands against it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from hyperhive.harness.auth import auth, stored
from hyperhive.harness.claude import ClaudeError
from hyperhive.harness.condition import Condition
from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.harness.mail import Mail
from hyperhive.harness.prompt import Identity, system_prompt
from hyperhive.harness.rest import Rest
from hyperhive.harness.surroundings import tool_groups
from hyperhive.harness.turn import Ended
from hyperhive.harness.turns import Turns
from hyperhive.protocol import agent
from hyperhive.protocol.agent import MAX_WAIT_S, Received, Welcome
from hyperhive.protocol.events import Note, Outcome
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import AgentDocument

LOGIN_CHECK_S: Final = 60.0
SHORTEST_LIMIT_S: Final = 60.0
LONGEST_LIMIT_S: Final = 6 * 3600.0
LATEST_RESET_S: Final = 31 * 86400.0
BACKOFF_S: Final = (0.0, 1.0, 5.0, 15.0, 60.0)
"""Before the next turn, by how many times in a row claude was lost."""
OVERLOAD_S: Final = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Before the model is tried again, by how many times in a row it did not answer; up to a quarter more by chance."""
_SAY_NOTHING_OF_LOGINS: Final = frozenset({Outcome.NEEDS_LOGIN, Outcome.INTERRUPTED, Outcome.OVERLOADED})
_WEATHER: Final = frozenset({Outcome.NEEDS_LOGIN, Outcome.RATE_LIMITED, Outcome.OVERLOADED})
"""Which no message is to blame for."""
EMPTY_S: Final = 1.0
"""Between two empty answers, at least: a hive that has us paused may not park the call."""


class Agenda:
    """The runner's main task. Paused, it lets the turn under way end and leases nothing."""

    def __init__(
        self,
        *,
        link: Link,
        mail: Mail,
        turns: Turns,
        rest: Rest,
        condition: Condition,
        journal: Journal,
        document: AgentDocument,
        credentials: Path,
        may_have_login: bool,
        has_other: Callable[[], bool],
    ) -> None:
        """`credentials` is where claude stores a login; `may_have_login` says that it may have another, `has_other`
        that one goes before it."""
        self._link = link
        self._mail = mail
        self._turns = turns
        self._rest = rest
        self._condition = condition
        self._journal = journal
        self._document = document
        self._credentials = credentials
        self._may_have_login = may_have_login
        self._has_other = has_other
        self._refused = ""  # what claude said when it was last turned away
        self._open = asyncio.Event()
        self._paused = True
        self._attached = False
        self._unparked = asyncio.Event()
        self._stopping = False
        self._lost = 0
        self._has_new_login = False  # made since the latest turn began
        self._role = document.settings.role
        self._sitting: asyncio.Future[None] | None = None  # what came over work beside the turns, until it is over
        self.after_turn: Callable[[], Awaitable[Ended | None]] = _nothing
        """What is to be done behind a turn that ended well, before the next one's mail is leased; how that ended."""
        link.on_welcome.append(self._welcomed)

    async def run(self) -> None:
        """Ends after `stop`, when the turn under way has ended and is settled."""
        await self._open.wait()
        self._say_auth()
        await self._ask_for_login()
        while not self._stopping:
            await self._open.wait()
            asked = time.monotonic()
            received = await self._mail.receive(MAX_WAIT_S)
            if not received.messages:
                await asyncio.sleep(EMPTY_S if time.monotonic() - asked < EMPTY_S else 0)
            else:
                await self._take_up(received)

    @property
    def is_open(self) -> bool:
        """Whether turns may begin: it is neither paused nor being stopped."""
        return self._open.is_set() and not self._stopping

    def pause(self, paused: bool) -> None:
        self._paused = paused
        self._open_or_shut()

    def attached(self, attached: bool) -> None:
        """As if it were paused, whatever the operator says of that meanwhile."""
        self._attached = attached
        self._open_or_shut()

    def _open_or_shut(self) -> None:
        if self._paused or self._attached:
            self._open.clear()
        else:
            self._open.set()
            self._unparked.set()

    def stop(self) -> None:
        """Begin no further turn."""
        self._stopping = True
        self._unparked.set()

    def logged_in(self) -> None:
        """Claude has got a login: whoever waits for one goes on."""
        self._has_new_login = True
        self._refused = ""
        self._say_auth()
        self._rest.new_login()
        self._condition.needs_login(False)
        self._unparked.set()

    def sit_out(self, ended: Ended | None) -> None:
        """Work on the conversation beside the turns has ended so: what came over it keeps the next turn waiting."""
        if ended is not None and ended.outcome in _WEATHER and (self._sitting is None or self._sitting.done()):
            self._unparked.clear()
            self._sitting = asyncio.ensure_future(self._weather(ended))

    def credential_changed(self, there: bool) -> None:
        """The hive has another credential, or none: the next turn has a claude that knows."""
        if there:
            self.logged_in()
        else:
            self._say_auth()
            self._rest.new_login()

    async def system_prompt(self) -> str:
        """For a claude that starts now."""
        colleagues = await self._link.insist(agent.LIST_AGENTS, lambda _: Nothing())
        settings = self._document.settings
        return system_prompt(
            Identity(
                agent=self._document.name,
                role=self._role,
                description=settings.description,
                instructions=settings.system_prompt,
                colleagues=colleagues.agents,
                tool_groups=tool_groups(self._document),
            )
        )

    def _welcomed(self, welcome: Welcome) -> None:
        self._role = "manager" if welcome.role == "manager" else "agent"
        self.pause(welcome.paused)

    async def _take_up(self, received: Received) -> None:
        if self._attached:
            await self._give_back(received)
            return
        if self._sitting is not None and not self._sitting.done():
            await self._give_back(received)
            await asyncio.wait([self._sitting])
            return
        system_prompt = await self.system_prompt()
        async with self._turns.claim:
            if self._stopping or not self._open.is_set():
                await self._give_back(received)
                return
            self._has_new_login = False
            ended = await self._turns.run(received, system_prompt)
        self._unparked.clear()  # from here on the operator's word ends any waiting
        self._note_login(ended)
        self._lost = self._lost + 1 if ended.outcome is Outcome.INTERRUPTED else 0
        if self._stopping:
            return
        if ended.outcome is Outcome.OK and (behind := await self.after_turn()) is not None:
            self._unparked.clear()
            ended = behind
        if ended.outcome in _WEATHER:
            await self._weather(ended)
        elif self._lost:
            await self._park(BACKOFF_S[min(self._lost, len(BACKOFF_S)) - 1])

    async def _weather(self, ended: Ended) -> None:
        """Until there is hope that the next turn ends otherwise."""
        match ended.outcome:
            case Outcome.NEEDS_LOGIN:
                self._note_login(ended)
                await self._wait_for_login()
            case Outcome.RATE_LIMITED:
                await self._wait_for_limit(ended.resets_at or 0.0)
            case Outcome.OVERLOADED:
                await self._wait_for_model(ended.overloads)

    async def _give_back(self, received: Received) -> None:
        ids = [m.id for m in received.messages]
        await self._mail.release(ids, failed=False, reason="the agent is paused or being stopped")

    async def _ask_for_login(self) -> None:
        """Where nothing speaks for a login, claude is asked once whether it has one, before there is mail."""
        if self._may_have_login or self._login() is not None or await self._rest.credential():
            return
        try:
            claude = await self._rest.warm(await self.system_prompt())
        except ClaudeError:
            return  # the first turn will tell
        self._unparked.clear()
        if not claude.logged_in:
            await self._wait_for_login()

    async def _wait_for_limit(self, resets_at: float) -> None:
        """The hive, which is told, holds back mail for as long as it sees fit; this is for one that is away."""
        now = time.time()
        resets_at = max(resets_at, now + SHORTEST_LIMIT_S)
        self._condition.limited(min(resets_at, now + LATEST_RESET_S))
        await self._park(min(resets_at - now, LONGEST_LIMIT_S))
        self._condition.limited(0)

    async def _wait_for_model(self, overloads: int) -> None:
        import random  # only here: with what it brings it is a part of every start

        seconds = OVERLOAD_S[min(overloads, len(OVERLOAD_S)) - 1] * random.uniform(1, 1.25)
        self._condition.overloaded(time.time() + seconds)
        await self._park(seconds)
        self._condition.overloaded(0)

    def _note_login(self, ended: Ended) -> None:
        """What a turn has shown of claude's login."""
        if ended.outcome is Outcome.NEEDS_LOGIN:
            self._refused = ended.note or "it was refused"
        elif ended.outcome is Outcome.OK:
            self._refused = ""
        self._say_auth()
        if ended.outcome not in _SAY_NOTHING_OF_LOGINS:
            self._condition.needs_login(False)

    def _say_auth(self) -> None:
        kept = stored(self._credentials)
        self._condition.auth(auth(kept, has_other=self._has_other(), refused=self._refused))

    async def _wait_for_login(self) -> None:
        """Until a login was made, the stored one is another, or somebody tells the agent to go on: then its next turn
        shows whether it has one."""
        if self._has_new_login:
            return
        before = self._login()
        self._say_auth()
        self._condition.needs_login(True)
        self._journal.record(Note(text="claude needs a login: messages wait in the queue", level="error"))
        await self._rest.doze()  # a login is read at the start
        while not await self._park(LOGIN_CHECK_S) and self._login() == before:
            pass
        if self._login() != before:
            self._refused = ""
            self._say_auth()
            self._condition.needs_login(False)

    async def _park(self, seconds: float) -> bool:
        """Wait so long, or until told to go on; true when told."""
        if self._stopping:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._unparked.wait()
        except TimeoutError:
            return False
        return True

    def _login(self) -> tuple[int, int] | None:
        try:
            found = self._credentials.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


async def _nothing() -> Ended | None:
    return None
