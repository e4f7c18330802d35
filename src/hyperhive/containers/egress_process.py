"""The process in which all agents' proxies of one hive live: `python -m hyperhive.containers.egress_process DIR`.

It answers on DIR/egress.sock, returns to its caller when it does, and goes on in the background: it serves while the
hive is gone, and ends when it is told to, or when the hive is gone and no agent is declared.
"""

import asyncio
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hyperhive.containers.egress import MAX_LINE, Declare, Declared, Refusal, Rule, Stop
from hyperhive.containers.egress_proxy import Proxy
from hyperhive.containers.egress_rules import Allowed
from hyperhive.protocol.faults import FaultError

QUIET_S: Final = 10.0
"""The same refusal is told again after this time at the earliest."""
_EVERY_FD: Final = 1 << 20
LOCK_TIMEOUT_S: Final = 5
MAX_REMEMBERED: Final = 1000
MAX_PENDING: Final = 1 << 20


class Refusals:
    """Tells each refusal once and then in steps; an agent that asks in a loop cannot flood the hive."""

    def __init__(self, tell: Callable[[Refusal], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._seen: dict[tuple[str, str, int, str], tuple[float, int]] = {}

    def add(self, agent: str, host: str, port: int, reason: str) -> None:
        key = (agent, host[:253], port, reason)
        now = self._clock()
        last, held = self._seen.pop(key, (-QUIET_S, 0))
        if now - last < QUIET_S:
            self._seen[key] = (last, held + 1)
            return
        if self._crowded(agent, now):
            return
        self._seen[key] = (now, 0)
        self._tell(Refusal(agent=agent, host=key[1], port=port, reason=reason, count=held + 1))

    def _crowded(self, agent: str, now: float) -> bool:
        """Whether this agent has had its share: 20 different ones in the quiet time."""
        if len(self._seen) >= MAX_REMEMBERED:
            self._seen = {key: value for key, value in self._seen.items() if now - value[0] < QUIET_S}
        recent = sum(1 for key, (last, _) in self._seen.items() if key[0] == agent and now - last < QUIET_S)
        return recent >= 20


class EgressProcess:
    """Holds the proxies and talks to at most one hive at a time; a newer hive takes the place of an older."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._proxies: dict[str, Proxy] = {}
        self._rules: dict[str, Rule] = {}
        self._hive: asyncio.StreamWriter | None = None
        self._over = asyncio.Event()
        self._changing = asyncio.Lock()
        self._refusals = Refusals(self._tell, asyncio.get_running_loop().time)

    async def run(self, listener: socket.socket) -> None:
        """Until told to end."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._over.set)
        server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE)
        await self._over.wait()
        server.close()
        self._control.unlink(missing_ok=True)
        await asyncio.gather(*(proxy.close() for proxy in self._proxies.values()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._hive is not None:
            self._hive.transport.abort()
        self._hive = writer
        try:
            while line := await reader.readline():
                await self._obey(line, writer)
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # the hive is gone, or is no hive: what is declared stays
        finally:
            writer.transport.abort()
            if self._hive is writer:
                self._hive = None
                if not self._proxies:
                    self._over.set()

    async def _obey(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        message = msgspec.json.decode(line, type=Declare | Stop)
        if isinstance(message, Stop):
            self._over.set()
            return
        async with self._changing:
            problems = await self._declare(message.agents)
        writer.write(msgspec.json.encode(Declared(problems=problems)) + b"\n")
        await writer.drain()

    async def _declare(self, agents: dict[str, Rule]) -> dict[str, str]:
        for name in self._proxies.keys() - agents.keys():
            await self._drop(name)
        problems: dict[str, str] = {}
        for name, rule in agents.items():
            try:
                await self._set(name, rule)
            except (OSError, FaultError) as error:
                problems[name] = str(error)
        return problems

    async def _set(self, name: str, rule: Rule) -> None:
        allowed = tuple(Allowed.parse(text) for text in rule.allow)
        known, before = self._proxies.get(name), self._rules.get(name)
        there = await asyncio.to_thread(Path(rule.socket).is_socket)
        if known and before and there and (before.socket, before.uid) == (rule.socket, rule.uid):
            known.allowed = allowed
        else:
            await self._drop(name)
            proxy = Proxy(
                Path(rule.socket), allowed, lambda host, port, why: self._refusals.add(name, host, port, why)
            )
            await proxy.open(rule.uid)
            self._proxies[name] = proxy
        self._rules[name] = rule

    async def _drop(self, name: str) -> None:
        proxy = self._proxies.pop(name, None)
        self._rules.pop(name, None)
        if proxy is not None:
            await proxy.close()

    def _tell(self, refusal: Refusal) -> None:
        """To the hive, if there is one that listens; a refusal is not worth memory."""
        if self._hive is not None and self._hive.transport.get_write_buffer_size() < MAX_PENDING:
            self._hive.write(msgspec.json.encode(refusal) + b"\n")


def main() -> int:
    os.closerange(3, _EVERY_FD)  # whoever started the hive may have left some open
    directory = Path(sys.argv[1])
    lock = os.open(directory / "egress.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _taken(lock):
        sys.stderr.write(f"an egress process runs already and holds {directory}/egress.lock, but does not answer\n")
        return 1
    os.ftruncate(lock, 0)
    listener = _listen(directory / "egress.sock")
    if os.fork():
        return 0  # the socket listens: whoever started us can connect
    _detach()
    os.write(lock, f"{os.getpid()}\n".encode())
    asyncio.run(_serve(listener, directory / "egress.sock"))
    return 0


def _taken(lock: int) -> bool:
    """Waits a little for an earlier process that is about to end."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LOCK_TIMEOUT_S)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except TimeoutError:
        return False
    finally:
        signal.alarm(0)
    return True


async def _serve(listener: socket.socket, control: Path) -> None:
    await EgressProcess(control).run(listener)


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(listener.fileno(), 0o600)
    listener.bind(str(path))
    listener.listen(4)
    listener.setblocking(False)
    return listener


def _detach() -> None:
    """A session of our own and nothing of our caller's, so that its pipes close."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


if __name__ == "__main__":
    sys.exit(main())
