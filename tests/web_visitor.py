"""A browser's half of HTTP, and an attacker's: every byte of a request is the test's."""

import http.client
import socket
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode, urlsplit

from hyperhive.protocol import host
from hyperhive.testing.hive_process import PATIENCE_S, HiveProcess

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  #: by lower-case name
    body: bytes

    @property
    def cookie(self) -> str:
        """As it is sent back."""
        return self.headers["set-cookie"].partition(";")[0]


class Visitor:
    """Somebody at the dashboard's port. Sends what our pages would have a browser send, unless told otherwise."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        assert parts.hostname
        assert parts.port
        self.address = (parts.hostname, parts.port)
        self.host = parts.netloc
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.cookie = ""

    @classmethod
    def of(cls, hive: HiveProcess) -> Self:
        return cls(link_into(hive))

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers)

    def post(self, path: str, body: str | bytes = b"", **headers: str) -> Answer:
        """As a form of one of our own pages; an empty header is left out."""
        return self.ask("POST", path, {"Origin": self.origin, "Content-Type": FORM, **headers}, body)

    def ask(self, method: str, path: str, headers: dict[str, str], body: str | bytes = b"") -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        sent = {
            "Host": self.host,
            "Cookie": self.cookie,
            **{name.replace("_", "-"): headers[name] for name in headers},
        }
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            data = body.encode() if isinstance(body, str) else body
            if method == "POST" and "Content-Length" not in sent:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            got = connection.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    def enter(self, token: str, **headers: str) -> Answer:
        return self.post("/login", urlencode({"link": token}), **headers)

    def log_in(self, hive: HiveProcess) -> Self:
        answer = self.enter(token_of(link_into(hive)))
        assert answer.status == 303, answer.body
        self.cookie = answer.cookie
        return self

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def raw(self, request: bytes) -> bytes:
        """All that comes back until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            return everything(connection)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    got = b""
    try:
        while chunk := connection.recv(65536):
            got += chunk
    except ConnectionResetError:
        pass
    return got


def link_into(hive: HiveProcess) -> str:
    link = hive.ask(host.LoginLink()).login_link
    assert isinstance(link, str)
    return link


def token_of(link: str) -> str:
    return urlsplit(link).fragment
