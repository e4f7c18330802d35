"""A client of host.sock and of an agent's socket that knows nothing of ours: bytes, lines and the json module."""

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 30.0


class Outsider:
    """One connection; ended by the `with` block."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._answers.close()
        self._socket.close()

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def done_writing(self) -> None:
        """Close the writing half; answers can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def line(self) -> bytes:
        """The next line, with its newline; empty when the other side has closed."""
        return self._answers.readline()

    def read(self) -> Any:
        """The next line's value; raises ConnectionError when the other side has closed without it."""
        line = self.line()
        if not line.endswith(b"\n"):
            raise ConnectionError("closed without answering")
        return json.loads(line)

    def ask(self, request: str) -> Any:
        self.write(request.encode() + b"\n")
        return self.read()

    def call(self, method: str, **params: Any) -> Any:
        """A JSON-RPC call on an agent's socket: the result, or the error with its `kind`."""
        self.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        while True:
            answer = self.read()
            if answer.get("id") == 1 and "method" not in answer:
                return answer["result"] if "result" in answer else answer["error"]


def ask(path: Path, request: str) -> Any:
    """One connection, one request, one answer."""
    with Outsider(path) as client:
        return client.ask(request)
