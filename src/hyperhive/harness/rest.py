"""How awake the agent is: claude is kept ready while there is work, and released after a while without."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from hyperhive.harness.claude import Claude, ClaudeError, GaveUpError
from hyperhive.harness.command import (
    ClaudeCommand,
    claude_argv,
    claude_env,
    interactive_argv,
    login_argv,
    mcp_config,
    missing_plugins,
    put_private,
)
from hyperhive.harness.condition import Condition
from hyperhive.harness.init import Children
from hyperhive.harness.journal import Journal
from hyperhive.harness.model import Model
from hyperhive.harness.session import Session
from hyperhive.harness.surroundings import Surroundings
from hyperhive.harness.wire import ToolOffer
from hyperhive.protocol import events
from hyperhive.protocol.events import Note
from hyperhive.protocol.rpc import Peer
from hyperhive.protocol.settings import AgentDocument

AFTERMATH_S: Final = 5.0
"""How long claude may take to begin a turn of its own when work in its background has ended."""


class Rest:
    """The one owner of claude. Turns take it warm; between them it dozes off by itself."""

    def __init__(
        self,
        *,
        place: Surroundings,
        document: AgentDocument,
        children: Children,
        journal: Journal,
        condition: Condition,
        model: Model,
        session: Session,
    ) -> None:
        self._place = place
        self._name = document.name
        self._settings = document.settings
        self._children = children
        self._journal = journal
        self._condition = condition
        self._model = model
        self._session = session
        self._claude: Claude | None = None
        self._lock = asyncio.Lock()
        self._fresh = False  # the claude that runs is of a conversation that was given up
        self._outdated = False  # the claude that runs has the login of before
        self._busy = False
        self._background = 0
        self._aftermath_s = 0.0
        self._news = asyncio.Event()
        self.proxy_port = place.proxy_port
        self.rehearsal_port = place.rehearsal_port
        self.serve: Callable[[Peer], None] = lambda _: None
        """Gives a new worker what it may call."""
        self.tools: Callable[[], list[ToolOffer]] = list
        """The hive's, as a new claude is told of them."""
        self.credential: Callable[[], Awaitable[Mapping[str, str]]] = _no_credential
        """What a new claude gets of the hive's."""
        self.on_release: Callable[[], None] = lambda: None
        """Called when claude has been released or has gone."""
        self.on_use: Callable[[], None] = lambda: None
        """Called when there may be work, or none any more."""

    @property
    def claude(self) -> Claude | None:
        """The one that is up, or None."""
        return None if self._claude is None or self._claude.ended.done() else self._claude

    async def warm(self, system_prompt: str) -> Claude:
        """A claude that is up, started when there is none; raises ClaudeError."""
        async with self._lock:
            if self._fresh or self._outdated or (self._claude is not None and self._claude.ended.done()):
                await self._release()
            if self._claude is None:
                self._claude = await self._start(system_prompt)
                self._condition.rest(events.Rest.WARM)
            self._news.set()
            return self._claude

    async def doze(self) -> None:
        """Release claude with everything it has running; the conversation can be resumed."""
        async with self._lock:
            await self._release()

    async def kill(self) -> None:
        """Claude does not listen any more."""
        if self._claude is not None:
            await self._claude.kill()

    def busy(self, busy: bool) -> None:
        """While busy it does not doze off."""
        self._busy = busy
        self._aftermath_s = 0.0
        self._news.set()
        self.on_use()

    def background(self, tasks: int) -> None:
        """How many tasks claude has running beside its turns; none of them is ended by dozing off."""
        self._background = tasks
        self._aftermath_s = AFTERMATH_S
        self._news.set()
        self.on_use()

    def new_session(self) -> None:
        """The next turn begins a new conversation."""
        self._session.forget()
        self._fresh = True
        self._condition.session("")
        self._condition.context(0, self._condition.usage.context_window)

    def new_login(self) -> None:
        """The next turn has a claude that has read it; the conversation goes on."""
        self._outdated = True

    def login_command(self) -> ClaudeCommand:
        """What logs claude in, where claude would run. Raises ValueError when the agent's own command is none."""
        env = claude_env(
            self._place, self._settings, agent=self._name, proxy_port=self.proxy_port, rehearsal_port=None
        )
        return ClaudeCommand(argv=login_argv(str(self._place.claude), self._settings), env=env)

    async def interactive(self, system_prompt: str) -> ClaudeCommand:
        """For the operator's terminal, on the agent's conversation or a new one that becomes it. Raises OSError.

        Nobody else may use the conversation meanwhile. The hive's own tools are not in it: they need the worker.
        """
        folder = self._place.claude_tmp
        prompt_file = await asyncio.to_thread(put_private, folder / "system-prompt", system_prompt)
        servers = mcp_config(self._settings, own=False)
        mcp_file = await asyncio.to_thread(put_private, folder / "mcp-attached.json", servers)
        is_new, conversation = self._session.id is None, self._session.id or str(uuid.uuid4())
        if is_new:
            self._session.is_now(conversation)
            self._condition.session(conversation)
        argv = interactive_argv(
            str(self._place.claude), self._settings, system_prompt_file=prompt_file, mcp_config_file=mcp_file,
            model=self._model.current, session_id=conversation, is_new=is_new,
        )  # fmt: skip
        env = claude_env(
            self._place, self._settings,
            agent=self._name, proxy_port=self.proxy_port, rehearsal_port=self.rehearsal_port,
            of_the_hive=await self.credential(),
        )  # fmt: skip
        return ClaudeCommand(argv=argv, env=env | {"CLAUDE_CODE_ENTRYPOINT": "cli"})

    def session_is(self, session_id: str) -> None:
        """What claude says about the conversation it is in."""
        if session_id and not self._fresh:
            self._session.is_now(session_id)
            self._condition.session(session_id)

    async def run(self) -> None:
        """Doze off after `sleep_after` seconds without work, and clear up when claude has ended by itself."""
        while True:
            self._news.clear()
            if self._claude is None:
                await self._news.wait()
            else:
                await self._watch(self._claude)

    async def _watch(self, claude: Claude) -> None:
        patience = None if self.is_needed else max(self._settings.sleep_after, self._aftermath_s)
        news = asyncio.create_task(self._news.wait())
        sources: list[asyncio.Future[Any]] = [news, claude.ended]
        try:
            await asyncio.wait(sources, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        async with self._lock:
            idle = not self._news.is_set() and not self.is_needed
            if self._claude is claude and (claude.ended.done() or idle):
                await self._release()

    @property
    def is_needed(self) -> bool:
        """Whether claude is at something, in the background too."""
        return self._busy or self._background > 0

    async def _start(self, system_prompt: str) -> Claude:
        resume = self._session.id
        if resume is None:
            return await self._launch(system_prompt, None)
        try:
            return await self._resume(system_prompt, resume)
        except GaveUpError as error:
            claude = await self._launch(system_prompt, None)
            self._session.forget()
            text = f"the conversation {resume} could not be resumed ({error}): a new one begins"
            self._journal.record(Note(text=text, level="warning"))
            return claude

    async def _resume(self, system_prompt: str, session_id: str) -> Claude:
        """A claude or a worker that was lost on the way says nothing about the conversation: once more."""
        try:
            return await self._launch(system_prompt, session_id)
        except GaveUpError:
            raise
        except ClaudeError:
            return await self._launch(system_prompt, session_id)

    async def _launch(self, system_prompt: str, resume: str | None) -> Claude:
        folder = self._place.claude_tmp
        try:
            prompt_file = await asyncio.to_thread(put_private, folder / "system-prompt", system_prompt)
            mcp_file = await asyncio.to_thread(put_private, folder / "mcp.json", mcp_config(self._settings))
        except OSError as error:
            raise ClaudeError(f"cannot start claude: {error.filename}: {error.strerror}") from error
        tools = self.tools()
        argv = claude_argv(
            str(self._place.claude), self._settings, system_prompt_file=prompt_file, mcp_config_file=mcp_file,
            model=self._model.current, session_id=resume, hive_tools=[tool.name for tool in tools],
        )  # fmt: skip
        await self._tell_missing_plugins()
        env = claude_env(
            self._place, self._settings,
            agent=self._name, proxy_port=self.proxy_port, rehearsal_port=self.rehearsal_port,
            of_the_hive=await self.credential(),
        )  # fmt: skip
        command = ClaudeCommand(argv=argv, env=env)
        return await Claude.start(self._children, command, system_prompt=system_prompt, tools=tools, serve=self.serve)

    async def _tell_missing_plugins(self) -> None:
        for path in await asyncio.to_thread(missing_plugins, self._settings):
            text = f"there is no plugin of claude's at {path}: claude goes without it"
            self._journal.record(Note(text=text, level="warning"))

    async def _release(self) -> None:
        claude, self._claude = self._claude, None
        self._fresh = self._outdated = False
        self._background = 0
        if claude is not None:
            await claude.stop()
            self.on_release()
            self._condition.rest(events.Rest.DOZING)


async def _no_credential() -> Mapping[str, str]:
    return {}
