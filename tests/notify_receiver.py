"""A service that the hive tells things: a real HTTP server on loopback."""

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "tk-5ecret-in-the-url"


@dataclass(frozen=True)
class Told:
    path: str
    headers: dict[str, str]
    json: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.json["message"])


class Receiver:
    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.status = 200  #: what it answers
        self.location = ""  #: where it sends on to
        self._told: queue.Queue[Told] = queue.Queue()

    @property
    def json_url(self) -> str:
        return f"json://operator:{SECRET}@{self.address}/{SECRET}"

    @property
    def ntfy_url(self) -> str:
        return f"ntfy://{self.address}/{SECRET}"

    def take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        request.send_response(self.status)
        request.send_header("Content-Length", "2")
        if self.location:
            request.send_header("Location", self.location)
        request.end_headers()
        request.wfile.write(b"{}")
        self._told.put(Told(request.path, dict(request.headers), json.loads(body)))

    def next(self) -> Told:
        """Waits for it."""
        return self._told.get(timeout=50)

    def wait_for(self, words: str) -> None:
        """Until one says so."""
        while words not in (told := self.next()).text and words not in str(told.json["title"]):
            pass

    @property
    def quiet(self) -> bool:
        return self._told.empty()


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            it.take(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        it = Receiver(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield it
        finally:
            server.shutdown()
            thread.join()
