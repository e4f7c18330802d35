"""The load of the mail bench, in a Python process of its own.

It writes and reads the socket's lines by itself, so that it can keep a whole core's worth of daemon busy.

`python -m bench.mail_load FOLDER MODE …` prints one JSON object.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

BODY: Final = "x" * 300
_now = time.perf_counter


class _Message(msgspec.Struct, frozen=True):
    id: int
    body: str


class _Result(msgspec.Struct, frozen=True):
    messages: list[_Message] = []
    epoch: int = 0
    seq: int = 0
    unread: int = 0


class _Answer(msgspec.Struct, frozen=True):
    id: int
    result: _Result = _Result()
    error: msgspec.Raw | None = None


_decode: Final = msgspec.json.Decoder(_Answer).decode


class Line(asyncio.Protocol):
    """A connection that hands each answered line to `on_line`."""

    def __init__(self) -> None:
        self.on_line: Callable[[bytes], None] = lambda _line: None
        self._part = b""
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anyone sees it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a unix stream is one

    def data_received(self, data: bytes) -> None:
        *lines, self._part = (self._part + data).split(b"\n")
        for line in lines:
            self.on_line(line)

    def write(self, line: bytes) -> None:
        self.transport.write(line)

    async def ask(self, method: str, params: dict[str, Any]) -> _Result:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.on_line = answer.set_result
        self.write(call(0, method, params))
        return good(await answer).result


def call(number: int, method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


def good(line: bytes) -> _Answer:
    answer = _decode(line)
    if answer.error is not None:
        raise RuntimeError(bytes(answer.error).decode())
    return answer


async def connect(folder: Path, agent: int) -> Line:
    _, line = await asyncio.get_running_loop().create_unix_connection(Line, str(folder / f"a{agent}.sock"))
    return line


class Sender:
    """Writes sends to one agent; their mids are new in every run."""

    def __init__(self, line: Line, to: int) -> None:
        self.line = line
        self.count = 0
        self._run = f"{time.time_ns()}-{id(self)}"
        self._to = to

    def send(self, note: str = "") -> None:
        self.count += 1
        self.line.write(
            b'{"jsonrpc":"2.0","id":%d,"method":"send","params":{"mid":"%s-%d","to":"a%d","body":"%s %s"}}\n'
            % (self.count, self._run.encode(), self.count, self._to, note.encode(), BODY.encode())
        )


class Receiver:
    """Leases up to 32 messages at a time; each `recv` acks what the one before it brought."""

    def __init__(self, line: Line, epoch: int, got: Callable[[list[_Message]], None], maximum: int = 32) -> None:
        self.acked = 0
        self._line = line
        self._epoch = epoch
        self._got = got
        self._max = maximum
        self._taken: list[int] = []
        line.on_line = self._answered
        self._recv()

    @classmethod
    async def start(cls, folder: Path, agent: int, got: Callable[[list[_Message]], None]) -> "Receiver":
        line = await connect(folder, agent)
        welcome = await line.ask("hello", {"boot_id": f"boot-{time.time_ns()}"})
        return cls(line, welcome.epoch, got)

    def _recv(self) -> None:
        self._line.write(
            b'{"jsonrpc":"2.0","id":1,"method":"recv","params":{"epoch":%d,"wait_seconds":120,"max":%d,"ack":%s}}\n'
            % (self._epoch, self._max, json.dumps(self._taken).encode())
        )

    def _answered(self, line: bytes) -> None:
        messages = good(line).result.messages
        self._got(messages)
        self.acked += len(self._taken)
        self._taken = [message.id for message in messages]
        self._recv()


async def wake(folder: Path, agents: int, rate: float, count: int) -> dict[str, float]:
    """Open loop: sends at their intended times; from the write of `send` to the receipt by the other agent."""
    times: list[float] = []
    done = asyncio.Event()
    this_run = str(time.time_ns())  # what an earlier load left over does not count

    def got(messages: list[_Message]) -> None:
        now = _now()
        words = [message.body.split(" ", 2)[:2] for message in messages]
        times.extend(now - float(sent_at) for run, sent_at in words if run == this_run)
        if len(times) >= count:
            done.set()

    receivers = [await Receiver.start(folder, number, got) for number in range(agents)]
    senders = [Sender(await connect(folder, number), (number + 1) % agents) for number in range(agents)]
    late = await paced(rate, count, lambda number: senders[number % agents].send(f"{this_run} {_now()}"))
    await asyncio.wait_for(done.wait(), 60)
    del receivers
    return quantiles(times) | {"late": late}


async def life(folder: Path, agents: int, window: int, seconds: float) -> dict[str, float]:
    """Closed loop: every agent keeps `window` sends to the next one in flight; counts messages received and acked."""
    receivers = [await Receiver.start(folder, number, lambda _messages: None) for number in range(agents)]
    senders = []
    for number in range(agents):
        sender = Sender(await connect(folder, number), (number + 1) % agents)
        sender.line.on_line = lambda _line, sender=sender: sender.send()  # type: ignore[misc]
        senders.append(sender)
    for sender in senders:
        for _ in range(window):
            sender.send()
    await asyncio.sleep(seconds / 4)
    before, began = sum(receiver.acked for receiver in receivers), _now()
    await asyncio.sleep(seconds)
    return {"per_s": (sum(receiver.acked for receiver in receivers) - before) / (_now() - began)}


async def sends(folder: Path, in_flight: int, count: int) -> dict[str, float]:
    """Closed loop: one connection, so many sends in flight to an agent that does not read."""
    sender = Sender(await connect(folder, 0), 1)
    done = asyncio.Event()
    answered = 0

    def answer(line: bytes) -> None:
        nonlocal answered
        answered += 1
        if b'"error"' in line:
            raise RuntimeError(line.decode())
        if sender.count < count:
            sender.send()
        elif answered == count:
            done.set()

    sender.line.on_line = answer
    began = _now()
    for _ in range(in_flight):
        sender.send()
    await asyncio.wait_for(done.wait(), 120)
    return {"per_s": count / (_now() - began)}


async def events(folder: Path, batch: int, count: int) -> dict[str, float]:
    """Events in batches, four in flight, until the hive's own subscriber has seen them all."""
    line = await connect(folder, 0)
    before = (await line.ask("whoami", {})).unread
    start = time.time_ns()
    payload = {"kind": "note", "text": BODY, "level": "info"}

    def line_of(first: int) -> bytes:
        records = [{"seq": start + first + n, "ts": 1.5, "kind": "note", "payload": payload} for n in range(batch)]
        return call(first, "events", {"records": records})

    lines = [line_of(first) for first in range(0, count, batch)]
    free = asyncio.Semaphore(4)

    def answered(answer: bytes) -> None:
        good(answer)
        free.release()

    line.on_line = answered
    began = _now()
    for ready in lines:
        await free.acquire()
        line.write(ready)
    for _ in range(4):
        await free.acquire()
    while (await line.ask("whoami", {})).unread - before < count:
        pass
    return {"per_s": count / (_now() - began)}


async def echo(folder: Path, rate: float, count: int) -> dict[str, float]:
    """A paced round trip through a socket and a JSON decoder and encoder, and nothing else."""
    _, line = await asyncio.get_running_loop().create_unix_connection(Line, str(folder / "echo.sock"))
    times: list[float] = []
    done = asyncio.Event()

    def answered(data: bytes) -> None:
        times.append(_now() - json.loads(data)["at"])
        if len(times) == count:
            done.set()

    line.on_line = answered

    def ask(_number: int) -> None:
        line.write(json.dumps({"at": _now(), "body": BODY}).encode() + b"\n")

    late = await paced(rate, count, ask)
    await asyncio.wait_for(done.wait(), 60)
    return quantiles(times) | {"late": late}


async def paced(rate: float, count: int, act: Callable[[int], None]) -> float:
    """Act at the intended times; the result is how many were over 5 ms late."""
    loop = asyncio.get_running_loop()
    began, late = loop.time() + 0.05, 0
    for number in range(count):
        at = began + number / rate
        if (wait := at - loop.time()) > 0:
            await asyncio.sleep(wait)
        late += loop.time() - at > 0.005
        act(number)
    return late


def quantiles(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {"p50": cuts[49], "p99": cuts[98]}


MODES: Final = {"wake": wake, "life": life, "sends": sends, "events": events, "echo": echo}

if __name__ == "__main__":
    numbers = [float(word) if "." in word else int(word) for word in sys.argv[3:]]
    print(json.dumps(uvloop.run(MODES[sys.argv[2]](Path(sys.argv[1]), *numbers))))  # type: ignore[operator]
