"""The dashboard: how soon a page is there, what it weighs, and what it costs to keep many pages live.

The daemon's parts and their pages are a process of their own; beside it, in the same process, sse-starlette. What an
agent tells comes through its socket; the browsers are bare sockets in this process that look for the last row of each
batch in what they get. The next batch is sent when all have it. So every page gets every row, and what is compared is
what that costs the server: the time of a core, which is no matter of ticks, of this load, or of other work beside it.
"""

import asyncio
import contextlib
import functools
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec
import uvloop
from bench import processes
from bench.harness import Row, Say, Target, missing, row
from bench.hives import furnish
from playwright.sync_api import Error, sync_playwright

from hyperhive.protocol import agent
from hyperhive.protocol.agent import Events, Hello
from hyperhive.protocol.events import EventRecord, Stream, record
from hyperhive.protocol.rpc import Peer
from hyperhive.testing.hive_process import HiveProcess

AGENTS: Final = 100
HISTORY: Final = 10_000
BATCH: Final = 250
"""Events at once; a page that is further behind is told to begin anew."""
BATCHES: Final = 8
PAGES: Final = (20, 100)
PATIENCE_S: Final = 60.0
CHROMIUM: Final = "/usr/bin/chromium"
COLD_KB: Final = 150
PAINT_S: Final = 1.0
FORM: Final = "application/x-www-form-urlencoded"
DELIVERED: Final = Target(at_least=10)
STREAM: Final = "/agents/a0/live?after=0"
WEIGHT: Final = Target(at_most=1)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server: where the dashboard and its peer are, and a session."""

    pid: int
    host: str
    port: int
    cookie: str
    peer_port: int
    agent_socket: Path

    def get(self, path: str, **headers: str) -> bytes:
        with contextlib.closing(http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)) as connection:
            connection.request("GET", path, headers={"Cookie": self.cookie, **headers})
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(f"{path} was answered with {answer.status}")
            return answer.read() + answer.headers.as_bytes()


def measure(rounds: int, say: Say) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="hh-") as root, _served(Path(root), say) as served:
        return [
            *_firsts(served, rounds, say),
            *_weights(served),
            *(line for pages in PAGES for line in _delivery(served, pages, rounds, say)),
        ]


@contextlib.contextmanager
def _served(root: Path, say: Say) -> Iterator[Served]:
    hive = HiveProcess(root)
    asyncio.run(furnish(hive, AGENTS))
    argv = [sys.executable, "-m", "bench.dashboard_server", str(root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            link, peer = urlsplit(process.stdout.readline().strip()), urlsplit(process.stdout.readline().strip())
            if not (link.hostname and link.port and peer.port):
                raise RuntimeError("the server of the dashboard did not start")
            served = Served(
                pid=process.pid, host=link.hostname, port=link.port, peer_port=peer.port,
                cookie=_cookie(link.hostname, link.port, link.fragment), agent_socket=hive.paths.agent_socket("a0"),
            )  # fmt: skip
            say(f"dashboard: {HISTORY:,} events of an agent are written")
            uvloop.run(_tell(served.agent_socket, HISTORY))
            yield served
        finally:
            process.terminate()


def _cookie(host: str, port: int, token: str) -> str:
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=PATIENCE_S)) as connection:
        headers = {"Content-Type": FORM, "Sec-Fetch-Site": "same-origin"}
        connection.request("POST", "/login", urlencode({"link": token}), headers)
        return str(connection.getresponse().headers["set-cookie"]).partition(";")[0]


# the first sight


def _firsts(served: Served, rounds: int, say: Say) -> Iterator[Row]:
    for name, path in (("overview, 100 agents", "/"), ("agent's page, 10,000 events", "/agents/a0")):
        say(f"dashboard: {name}")
        took = [(_ms(served, path), _ms(served, "/static/vendor/htmx.min.js")) for _ in range(rounds)]
        yield row(
            f"answer of the {name}", [page for page, _ in took], unit="ms", spec=",.1f",
            against="a static file of 50 kB", ratios=[page / file for page, file in took],
        )  # fmt: skip
        try:
            painted = [_painted_s(served, path) for _ in range(rounds)]
        except Error as error:
            yield missing(f"first paint of the {name}", f"chromium: {str(error).splitlines()[0][:80]}", target=WEIGHT)
            continue
        yield row(
            f"first paint of the {name}", [1000 * seconds for seconds in painted], unit="ms",
            against=f"{PAINT_S:g} s", ratios=[seconds / PAINT_S for seconds in painted], target=WEIGHT,
            note="chromium without a window, cold cache",
        )  # fmt: skip


def _ms(served: Served, path: str) -> float:
    began = time.perf_counter()
    served.get(path)
    return 1000 * (time.perf_counter() - began)


def _painted_s(served: Served, path: str) -> float:
    """From the beginning of the navigation until something of the page is seen."""
    name, _, value = served.cookie.partition("=")
    url = f"http://{served.host}:{served.port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        with contextlib.closing(browser):
            context = browser.new_context()
            context.add_cookies([{"name": name, "value": value, "url": url}])
            page = context.new_page()
            page.goto(url + path)
            return float(page.evaluate(_PAINTED)) / 1000


_PAINTED: Final = """() => new Promise(done => new PerformanceObserver(list => {
  const first = list.getEntriesByName("first-contentful-paint")[0]; if (first) done(first.startTime);
}).observe({type: "paint", buffered: true}))"""


def _weights(served: Served) -> Iterator[Row]:
    """What a browser that has nothing yet fetches: the page and the files that it names, bodies and headers."""
    packed = {"Accept-Encoding": "gzip"}
    for name, path in (("overview, 100 agents", "/"), ("agent's page, 10,000 events", "/agents/a0")):
        page = len(served.get(path, **packed))
        files = {found.decode() for found in re.findall(rb'(?:src|href)="(/static/[^"]+)"', served.get(path))}
        kb = (page + sum(len(served.get(file, **packed)) for file in files)) / 1000
        yield row(
            f"cold transfer of the {name}", [kb], unit="kB", spec=",.0f", against=f"{COLD_KB} kB",
            ratios=[kb / COLD_KB], target=WEIGHT, note=f"{page / 1000:.0f} kB page, {len(files)} files, by gzip",
        )  # fmt: skip


# many pages


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of keeping so many pages live: rows delivered for a second of the server's core, in a second, and memory."""

    cpu_s: float
    per_core_s: float
    per_s: float
    kb_per_page: float


def _delivery(served: Served, pages: int, rounds: int, say: Say) -> Iterator[Row]:
    ours, theirs, our_further, their_further = [], [], [], []
    for number in range(rounds):
        say(f"dashboard: {pages} pages, round {number + 1} of {rounds}")
        our, our_first = (_cost(served, count, served.port, STREAM, served.cookie) for count in (pages, 1))
        their, their_first = (_cost(served, count, served.peer_port, "/", "") for count in (pages, 1))
        ours.append(our)
        theirs.append(their)
        our_further.append(_further_us(our, our_first, pages))
        their_further.append(_further_us(their, their_first, pages))
    yield row(
        f"rows to {pages} open pages of an agent", [cost.per_core_s for cost in ours], unit="rows/s of a core",
        against=f"sse-starlette, EventSourceResponse for each: {_median(theirs):,.0f}",
        ratios=[our.per_core_s / their.per_core_s for our, their in zip(ours, theirs, strict=True)],
        note=f"{BATCH} events at a time, each drawn once by both; by the clock "
        f"{max(cost.per_s for cost in ours):,.0f} rows/s, theirs {max(cost.per_s for cost in theirs):,.0f}; "
        "load generator: a separate Python process",
    )  # fmt: skip
    yield row(
        f"delivering a row to {pages} open pages", our_further, unit="us of a core for each page beyond the first",
        spec=",.2f", against=f"sse-starlette: {sorted(their_further)[rounds // 2]:,.1f}",
        ratios=[their / our for our, their in zip(our_further, their_further, strict=True)], target=DELIVERED,
        note="what storing and drawing it costs is in the first page's share",
    )  # fmt: skip
    yield row(
        f"memory of each of {pages} open pages",
        [max(cost.kb_per_page for cost in ours)],
        unit="kB RSS",
        spec=",.0f",
        note="the daemon's growth, after the rows; the most of all rounds",
    )


def _further_us(all_of_them: Cost, first: Cost, pages: int) -> float:
    """For a row and a page beyond the first. What is too little to be measured is a tick of the kernel's clock."""
    rows = BATCHES * BATCH * (pages - 1)
    return 1e6 * max(all_of_them.cpu_s - first.cpu_s, 1 / os.sysconf("SC_CLK_TCK")) / rows


def _median(costs: list[Cost]) -> float:
    return sorted(cost.per_core_s for cost in costs)[len(costs) // 2]


def _cost(served: Served, pages: int, port: int, path: str, cookie: str) -> Cost:
    return uvloop.run(asyncio.wait_for(_watched(served, pages, port, path, cookie), PATIENCE_S))


async def _watched(served: Served, pages: int, port: int, path: str, cookie: str) -> Cost:
    held = processes.memory(served.pid).rss
    async with contextlib.AsyncExitStack() as stack:
        request = f"GET {path} HTTP/1.1\r\nHost: {served.host}:{port}\r\nCookie: {cookie}\r\n\r\n".encode()
        open_ = [await stack.enter_async_context(_open(served.host, port, request)) for _ in range(pages)]
        await _batch(served.agent_socket, open_)  # all are there, and what is made at first is made
        cpu, began = processes.cpu_s(served.pid), time.monotonic()
        for _ in range(BATCHES):
            await _batch(served.agent_socket, open_)
        cpu, took = processes.cpu_s(served.pid) - cpu, time.monotonic() - began
        grown = max(0, processes.memory(served.pid).rss - held)
    rows = BATCHES * BATCH * pages
    return Cost(cpu_s=cpu, per_core_s=rows / cpu, per_s=rows / took, kb_per_page=grown / 1000 / pages)


class Page(asyncio.Protocol):
    """A browser that looks for one word."""

    def __init__(self, request: bytes) -> None:
        self._word = b"\ndata: reset" if b"/live" in request else b"event: begun"
        self._tail = b""
        self.said = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.said.done() and self._word in self._tail + data:
            self.said.set_result(None)
        self._tail = data[-64:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.said.done():
            self.said.set_exception(exc or ConnectionError("the stream has ended"))

    def listen_for(self, word: bytes) -> None:
        self._word = word
        self.said = asyncio.get_running_loop().create_future()


@contextlib.asynccontextmanager
async def _open(host: str, port: int, request: bytes) -> AsyncIterator["Page"]:
    transport, page = await asyncio.get_running_loop().create_connection(functools.partial(Page, request), host, port)
    try:
        transport.write(request)
        await page.said
        yield page
    finally:
        page.said.cancel()
        transport.abort()


async def _batch(socket: Path, open_: list[Page]) -> None:
    """Until every page has the last row of it."""
    word = f"the-end-of-{time.monotonic_ns()}."
    for page in open_:
        page.listen_for(word.encode())
    await _tell(socket, BATCH, word)
    await asyncio.gather(*(page.said for page in open_))


async def _tell(socket: Path, count: int, last: str = "") -> None:
    """So many events of a0's, the last of which says a word."""
    _, peer = await asyncio.get_running_loop().create_unix_connection(Peer, str(socket))
    try:
        welcome = await peer.call(agent.HELLO, Hello(boot_id="bench-dashboard"))
        first = welcome.events_seen + 1
        for at in range(0, count, 500):
            some = range(at, min(count, at + 500))
            records = [_record(first + n, last if n == count - 1 else f"step {n} of the work") for n in some]
            await peer.call(agent.EVENTS, Events(records=records))
    finally:
        peer.close()


def _record(seq: int, text: str) -> EventRecord:
    """What a turn's events mostly are: a line of claude's own."""
    line = {
        "type": "assistant",
        "message": {
            "id": f"msg_{seq}",
            "role": "assistant",
            "content": [{"type": "text", "text": f"{text} {'x' * 200}"}],
        },
        "session_id": "00000000-0000-4000-8000-000000000000",
    }
    return record(seq, time.time(), Stream(value=msgspec.Raw(msgspec.json.encode(line))))
