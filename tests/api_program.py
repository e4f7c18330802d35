"""A program that uses the dashboard's API with a token of its own."""

import json
from typing import Any, Literal, Self

from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess
from hyperhive.web.route import API
from web_visitor import Answer, Visitor


class Program:
    """Asks for paths below /api/v1, or from the root when they begin with `//`."""

    def __init__(self, visitor: Visitor, token: str) -> None:
        self.visitor = visitor
        self.token = token

    @classmethod
    def of(cls, hive: HiveProcess, scope: Literal["read", "operate"] = "operate") -> Self:
        token = hive.ask(host.CreateToken(name=f"a program that may {scope}", scope=scope)).token
        assert isinstance(token, str)
        return cls(Visitor.of(hive), token)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`body` is sent as JSON, unless it is bytes."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {
            "Authorization": f"Bearer {self.token}" if self.token else "",
            "Content-Type": "application/json" if data else "",
            **({"Content-Length": str(len(data))} if data else {}),
            **headers,
        }
        return self.visitor.ask(method, path[1:] if path.startswith("//") else API + path, sent, data)

    def get(self, path: str, **headers: str) -> dict[str, Any]:
        return self._done(self.ask("GET", path, **headers))

    def post(self, path: str, body: Any = None) -> dict[str, Any]:
        return self._done(self.ask("POST", path, body))

    def delete(self, path: str) -> dict[str, Any]:
        return self._done(self.ask("DELETE", path))

    def refusal(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Its status and its kind."""
        answer = self.ask(method, path, body, **headers)
        assert answer.headers["content-type"] == "application/json", answer.body
        refused = json.loads(answer.body)
        assert {*refused} == {"error"}
        assert {*refused["error"]} == {"kind", "message"}
        return answer.status, refused["error"]["kind"]

    @staticmethod
    def _done(answer: Answer) -> dict[str, Any]:
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "application/json"
        said: dict[str, Any] = json.loads(answer.body)
        return said
