"""The operator's targets, and what becomes of the news for them."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from hyperhive import process
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.config import notify as file
from hyperhive.config import private_file
from hyperhive.config.notify import MAX_TARGETS, Target
from hyperhive.hub.background import Background
from hyperhive.hub.notify.deliver import TIME_S, Errand, Outcome
from hyperhive.hub.notify.newsroom import Newsroom
from hyperhive.hub.notify.outlet import Outlet, Send
from hyperhive.hub.notify.words import News
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.notify import BY_DEFAULT, NotifyKind

AT_ONCE: Final = 2
"""Programs that deliver at one time; each takes about 60 MB while it does."""
BEGIN_AGAIN_S: Final = 5.0

log = structlog.get_logger(__name__)


class Sender:
    """Runs `hyperhive.hub.notify.deliver`: off the event loop, for a bounded time, with its secret on its stdin."""

    def __init__(self, *, loopback_only: bool, time_s: float = TIME_S) -> None:
        self._loopback_only = loopback_only
        self._time_s = time_s
        self._places = asyncio.Semaphore(AT_ONCE)

    async def send(self, target: Target, title: str, body: str) -> str:
        return await self._carry_out(Errand(url=target.url, title=title, body=body, loopback_only=self._loopback_only))

    async def check(self, url: str) -> str:
        """What is wrong with the URL; nothing is sent."""
        return await self._carry_out(Errand(url=url, loopback_only=True))

    async def _carry_out(self, errand: Errand) -> str:
        argv = (sys.executable, "-I", "-m", "hyperhive.hub.notify.deliver")
        async with self._places:
            try:
                done = await process.run(argv, timeout=self._time_s, input=msgspec.json.encode(errand))
                return msgspec.json.decode(done.stdout, type=Outcome).error
            except process.CommandFailed as failed:
                return f"the program that delivers {failed.reason}"
            except (msgspec.MsgspecError, UnicodeDecodeError):
                return "the program that delivers said nothing"


class Notifications:
    """Works while `running` is entered. Without a target nothing is looked up, started or connected."""

    def __init__(
        self, path: Path, newsroom: Newsroom, sender: Sender, url: Callable[[], str], clock: Clock | None = None
    ) -> None:
        self._path = path
        self._newsroom = newsroom
        self._sender = sender
        self._url = url
        self._clock = clock or SystemClock()
        self._outlets: dict[str, Outlet] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._background = Background()
        self._changing = asyncio.Lock()
        self._problem: FaultError | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A file that cannot be read is logged, and said to whoever asks; the hive runs without targets."""
        try:
            for target in await asyncio.to_thread(file.read, self._path):
                self._open(target)
        except FaultError as fault:
            self._problem = fault
            log.error("nobody is told outside of the dashboard", reason=fault.message)
        self._background.begin(self._follow())
        try:
            yield
        finally:
            await self._background.close()

    def targets(self) -> list[host.NotifyTarget]:
        """In the order in which they were added, without what is secret. Raises FaultError (`bad_config`)."""
        return [outlet.on_wire() for outlet in self._known().values()]

    async def add(self, url: str, kinds: list[NotifyKind] | None = None, name: str = "") -> host.NotifyTarget:
        """Raises FaultError: the URL is none that apprise knows, the name is taken, there are too many."""
        async with self._changing:
            chosen = [] if set(kinds or []) == set(BY_DEFAULT) else list(dict.fromkeys(kinds or []))
            target = Target(name=name or self._name_for(url), url=url, kinds=chosen)
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", target.name):
                raise FaultError(FaultKind.BAD_NAME, "cannot add the target: a name is made of a-z, 0-9 and -")
            if target.name in self._known():
                raise FaultError(FaultKind.NAME_TAKEN, f"cannot add {target.name!r}: there is a target of that name")
            if len(self._outlets) >= MAX_TARGETS:
                raise FaultError(FaultKind.WRONG_STATE, f"cannot add a target: there are {MAX_TARGETS}")
            if wrong := await self._sender.check(url):
                raise FaultError(FaultKind.INVALID_PARAMS, f"cannot add {target.shown}: {wrong}")
            await self._write([*self._kept(), target])
            return self._open(target).on_wire()

    async def remove(self, name: str) -> None:
        """It is told nothing any more, also of what waits."""
        async with self._changing:
            self._of(name)
            await self._write([target for target in self._kept() if target.name != name])
            del self._outlets[name]
            self._running.pop(name).cancel()

    async def test(self, name: str | None = None) -> list[host.NotifyTest]:
        """Tell one target, or all, that this is a test; what became of it."""
        outlets = list(self._known().values()) if name is None else [self._of(name)]
        if not outlets:
            raise FaultError(FaultKind.WRONG_STATE, "there is no target to test; `hive notify add URL` adds one")
        errors = await asyncio.gather(*(outlet.test() for outlet in outlets))
        return [
            host.NotifyTest(name=outlet.target.name, ok=not error, error=error)
            for outlet, error in zip(outlets, errors, strict=True)
        ]

    # inside

    async def _follow(self) -> None:
        while True:
            try:
                await self._newsroom.follow(self._tell, self._wants)
            except Exception:  # the boundary of a task that nobody waits for
                log.exception("following the hive's news failed")
            await asyncio.sleep(BEGIN_AGAIN_S)

    def _wants(self, kind: NotifyKind) -> bool:
        return any(outlet.wants(kind) for outlet in self._outlets.values())

    def _tell(self, news: News) -> None:
        for outlet in self._outlets.values():
            outlet.tell(news)

    def _open(self, target: Target) -> Outlet:
        send: Send = self._sender.send
        outlet = self._outlets[target.name] = Outlet(target, send, self._url, self._clock)
        self._running[target.name] = self._background.begin(outlet.run())
        return outlet

    def _known(self) -> dict[str, Outlet]:
        if self._problem:
            raise self._problem
        return self._outlets

    def _of(self, name: str) -> Outlet:
        found = self._known().get(name)
        if found is None:
            raise FaultError(
                FaultKind.UNKNOWN_TARGET, f"there is no target {name[:64]!r}; `hive notify list` shows them"
            )
        return found

    def _kept(self) -> list[Target]:
        return [outlet.target for outlet in self._outlets.values()]

    def _name_for(self, url: str) -> str:
        """Its scheme, with a number when that is taken."""
        scheme = re.sub(r"[^a-z0-9-]", "", url.partition("://")[0].lower()[:30]).strip("-") or "target"
        names = (scheme, *(f"{scheme}-{number}" for number in range(2, MAX_TARGETS + 2)))
        return next(name for name in names if name not in self._outlets)

    async def _write(self, targets: list[Target]) -> None:
        await asyncio.to_thread(private_file.write, self._path, targets)
