"""The login of claude's in the agent's own container, as the operator drives it from outside: link, code, outcome.

The code goes to claude's standard input and nowhere else; the link is in the state for the hive, never in an event.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from hyperhive.harness.command import ClaudeCommand
from hyperhive.harness.condition import Condition
from hyperhive.harness.init import Children
from hyperhive.harness.journal import Journal
from hyperhive.harness.login_process import LoginProcess
from hyperhive.harness.payload import redact
from hyperhive.protocol.agent import UNDER_WAY, Login, LoginState
from hyperhive.protocol.events import Note
from hyperhive.protocol.faults import FaultError, FaultKind

MAX_NOTE: Final = 2000
SECRET_FROM: Final = 6
"""Characters of a code, or of its half, from which on it is blanked in what claude says."""

# Not compiled before there is a login: that would be a good part of every runner's start.
_CODE: Final = r"[!-~]{1,4096}"
_LINK: Final = r"https://[!-~]{1,4088}+(?=[^!-~])"
_ESCAPES: Final = r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[@-~]|[^\n\x20-\x7e\xa0-\U0010ffff]"
_ADDRESS: Final = r"(https?://[^/\s?#]{1,200})[!-~]*"
_NOTES: Final = {
    LoginState.STARTING: "a login of claude's begins",
    LoginState.WAITING: "a login of claude's waits for the code from its link",
    LoginState.CHECKING: "the code was handed to claude",
    LoginState.DONE: "claude has a login",
    LoginState.CANCELLED: "the login of claude's was cancelled",
}


class Patience(Struct, frozen=True, kw_only=True):
    """Seconds that the steps of a login may take."""

    whole_s: float = 15 * 60.0
    link_s: float = 30.0
    check_s: float = 60.0
    another_s: float = 2.0
    """When claude has said something about a code and is still there after this, it waits for another one."""

    def lost(self, state: str) -> str:
        """Why a login that stayed in this state for too long has failed."""
        if state == LoginState.STARTING:
            return f"claude showed no link within {self.link_s:g} seconds"
        if state == LoginState.CHECKING:
            return f"claude neither took nor refused the code within {self.check_s:g} seconds"
        return f"it was not finished within {self.whole_s / 60:g} minutes"


class Logins:
    """One at a time; `run` carries each out to its end. `on_login` is called when one went well."""

    def __init__(
        self,
        *,
        children: Children,
        command: Callable[[], ClaudeCommand],
        credentials: Path,
        journal: Journal,
        condition: Condition,
        on_login: Callable[[], None],
        patience: Patience | None = None,
    ) -> None:
        self._children = children
        self._command = command
        self._credentials = credentials
        self._journal = journal
        self._condition = condition
        self._on_login = on_login
        self._patience = patience or Patience()
        self._now = Login(state="")
        self._process: LoginProcess | None = None
        self._limit: asyncio.Timeout | None = None
        self._ends_at = 0.0
        self._cancelled = False
        self._code = ""
        self._heard_before = (0, 0)  # characters that claude had written on either stream when it got the code
        self._wanted = asyncio.Event()
        self._stepped = asyncio.Event()

    @property
    def is_under_way(self) -> bool:
        return self._now.state in UNDER_WAY

    async def run(self) -> None:
        """Ends only when cancelled, and a login under way with it."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._carry_out()

    async def start(self) -> Login:
        """Begin one, or join the one under way; the answer comes with its link, or when there will be none."""
        if not self.is_under_way:
            self._cancelled = False
            self._step(LoginState.STARTING)
            self._wanted.set()
        return await self._past(LoginState.STARTING)

    async def take_code(self, code: str) -> Login:
        """Hand the code over; the answer comes when claude has taken or refused it. Raises FaultError."""
        line = code.strip()
        if not re.fullmatch(_CODE, line):
            raise FaultError(FaultKind.INVALID_PARAMS, "cannot use the code: it is one line without any spaces")
        if self._process is None or self._now.state != LoginState.WAITING:
            raise FaultError(FaultKind.WRONG_STATE, "no login waits for a code here; begin one, open its link first")
        self._code = line
        self._heard_before = (len(self._process.complained.text), len(self._process.said.text))
        self._step(LoginState.CHECKING, url=self._now.url)
        self._process.hand_over(line)
        return await self._past(LoginState.CHECKING)

    def cancel(self) -> bool:
        """Whether there was one to cancel."""
        if not self.is_under_way:
            return False
        self._cancelled = True
        if self._process is not None:
            self._process.end()
        return True

    # one login

    async def _carry_out(self) -> None:
        before = await asyncio.to_thread(self._stored)
        try:
            self._process = await LoginProcess.start(self._children, self._command(), self._listen)
        except (OSError, ValueError) as error:
            self._step(LoginState.FAILED, note=f"cannot start the login: {error}"[:MAX_NOTE])
            return
        try:
            note = await self._outcome(self._process, before)
        finally:
            self._process.end()
            self._process = None
            self._code = ""
        if not note:
            self._step(LoginState.DONE)
            self._on_login()
        elif self._cancelled:
            self._step(LoginState.CANCELLED)
        else:
            self._step(LoginState.FAILED, note=note)

    async def _outcome(self, process: LoginProcess, before: tuple[int, int, int] | None) -> str:
        """Why it failed; empty when claude has a login now."""
        self._ends_at = asyncio.get_running_loop().time() + self._patience.whole_s
        if self._cancelled:
            return "cancelled"
        try:
            async with asyncio.timeout(self._patience.link_s) as self._limit:
                self._listen()  # it may have been quick
                status = await process.over()
        except TimeoutError:
            return self._patience.lost(self._now.state)
        finally:
            self._limit = None
        if status == 0 and await asyncio.to_thread(self._stored) != before:
            return ""
        if status == 0:
            return "claude ended as after a login, but has stored none"
        return self._words(process) or f"it ended with status {status}"

    def _listen(self) -> None:
        """Claude has said something."""
        process = self._process
        if process is None:
            return
        if self._now.state == LoginState.STARTING:
            link = re.search(_LINK, process.said.text)
            if link is not None:
                self._step(LoginState.WAITING, url=link[0])
        elif self._now.state == LoginState.CHECKING:
            asyncio.get_running_loop().call_later(self._patience.another_s, self._wait_for_another, self._stepped)

    def _wait_for_another(self, then: asyncio.Event) -> None:
        """Unless the code was taken or refused meanwhile."""
        if self._process is not None and then is self._stepped:
            self._step(LoginState.WAITING, url=self._now.url, note=self._words(self._process, *self._heard_before))

    def _step(self, state: LoginState, *, url: str = "", note: str = "") -> None:
        self._now = Login(state=state, url=url, note=note)
        self._condition.login(self._now)
        if self._limit is not None and not self._limit.expired():
            checked_by = asyncio.get_running_loop().time() + self._patience.check_s
            self._limit.reschedule(min(self._ends_at, checked_by) if state is LoginState.CHECKING else self._ends_at)
        self._tell(state, note)
        stepped, self._stepped = self._stepped, asyncio.Event()
        stepped.set()

    def _tell(self, state: LoginState, note: str) -> None:
        if state is LoginState.FAILED:
            self._journal.record(Note(text=f"the login of claude's failed: {note}", level="warning"))
        elif state in _NOTES:
            self._journal.record(Note(text=f"{_NOTES[state]}: {note}" if note else _NOTES[state]))

    async def _past(self, state: LoginState) -> Login:
        while self._now.state == state:
            await self._stepped.wait()
        return self._now

    def _words(self, process: LoginProcess, complained_before: int = 0, said_before: int = 0) -> str:
        """What claude said, for a person: without the code, keys, and what addresses carry."""
        text = process.complained.text[complained_before:].strip() or process.said.text[said_before:]
        text = re.sub(_ESCAPES, "", text)  # first: they may stand in the midst of the code
        for part in (self._code, *self._code.split("#")):
            text = text.replace(part, "[the code]") if len(part) >= SECRET_FROM else text
        text = re.sub(_ADDRESS, r"\1/…", text).strip()
        return redact(text.encode()).decode(errors="replace")[-MAX_NOTE:]

    def _stored(self) -> tuple[int, int, int] | None:
        """A login is stored as another file."""
        try:
            found = self._credentials.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
