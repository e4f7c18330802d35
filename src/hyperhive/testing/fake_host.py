"""A hive in memory behind a real `host.sock`, for tests of clients.

Limits: no containers, mail is never delivered or answered, nothing outlives it, names and bounds are not checked; what
is decided is only marked (see `fake_shape`). What it does is the wire: the verbs, their answers, refusals, and streams
that break.
"""

import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from msgspec import UNSET

from hyperhive.protocol import host
from hyperhive.protocol.agent import Login, Receipt
from hyperhive.protocol.events import AnyLiveEvent, HiveEvent, record
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.framing import MAX_LINE
from hyperhive.protocol.host import Response
from hyperhive.protocol.notify import BY_DEFAULT
from hyperhive.testing.fake_shape import NOON, FakeShape

NOON_UNIX: Final = 1767355200.0


@dataclass(kw_only=True)
class FakeHive(FakeShape):
    """What there is; a test may change any of it while the server runs."""

    agents: dict[str, host.AgentStatusRow] = field(default_factory=dict)
    inbox: list[host.InboxRow] = field(default_factory=list)
    dead: dict[int, host.InboxRow] = field(default_factory=dict)
    replies: dict[int, host.InboxRow] = field(default_factory=dict)  #: by the id of the message they answer
    log: list[str] = field(default_factory=list)
    events: list[HiveEvent] = field(default_factory=list)
    shell_argv: list[str] = field(default_factory=lambda: ["/bin/true"])
    sessions: list[host.WebSession] = field(default_factory=list)
    tokens: list[host.ApiToken] = field(default_factory=list)
    notify_targets: list[host.NotifyTarget] = field(default_factory=list)
    notify_error: str = ""  #: what goes wrong when a target is tested
    credential: host.HiveCredential | None = None  #: the hive's own, as it is shown
    accounts: list[host.HiveCredential] = field(default_factory=list)
    login_steps: list[Login] = field(default_factory=list)  #: what logins of claude's come to next; then they are done
    received: list[host.AnyRequest] = field(default_factory=list)
    refusal: FaultError | None = None  #: of every request, while it is set
    sent: int = 0
    on_send: Callable[[host.Send], None] = lambda _: None
    watchers: int = 0

    def happen(self, agent: str, event: AnyLiveEvent) -> None:
        """Add an event and tell those who watch."""
        stored = record(0, NOON_UNIX, event)
        with self.news:
            self._add(agent, stored.kind, stored.payload)

    def _add(self, agent: str, kind: str, payload: msgspec.Raw) -> None:
        number = len(self.events) + 1
        self.events.append(HiveEvent(id=number, ts=NOON_UNIX, agent=agent, kind=kind, payload=payload))
        self.news.notify_all()

    def deliver(self, row: host.InboxRow) -> None:
        """A message to the operator arrives."""
        payload = {"kind": "sent", "id": row.id, "sender": row.sender, "recipient": row.to}
        with self.news:
            self.inbox.append(row)
            self._add(row.sender, "message_sent", msgspec.Raw(msgspec.json.encode(payload)))

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Return when it is true: asked again whenever something was sent, watched or handled."""
        with self.news:
            if not self.news.wait_for(true, timeout=30):
                raise TimeoutError("what was waited for did not happen")

    def break_streams(self) -> None:
        """End every stream, as a daemon does that is restarted."""
        with self.news:
            self.connection += 1
            self.news.notify_all()

    def answers(self, request: host.AnyRequest) -> Iterator[Response]:
        self.received.append(request)
        if self.refusal is not None:
            raise self.refusal
        self.on_request(request)
        match request:
            case host.Watch():
                yield from self._watch(request)
            case host.SubscribeAgentStatus():
                yield Response()
                yield from (Response(agent_statuses=[row]) for row in self.agents.values())
            case _:
                yield from self.streams(request) or [self.decide(request) or self._answer(request)]

    def _watch(self, request: host.Watch) -> Iterator[Response]:
        connection = self.connection
        seen = len(self.events) - request.history if request.since is None else request.since
        yield Response(events=[])
        with self.news:
            self.watchers += 1
            self.news.notify_all()
            while connection == self.connection:
                fresh = [event for event in self.events if event.id > seen and request.name in (None, event.agent)]
                if fresh:
                    seen = fresh[-1].id
                    yield Response(events=fresh)
                elif not request.follow:
                    return
                else:
                    self.news.wait()

    def _answer(self, request: host.AnyRequest) -> Response:
        match request:
            case host.List():
                return Response(agents=sorted(self.agents))
            case host.AgentStatus():
                return Response(agent_statuses=list(self.agents.values()))
            case host.Urls():
                return Response(urls=host.HiveUrls())
            case host.Hello():
                return Response(hive=self._info())
            case host.Spawn():
                return self._spawn(request)
            case host.Restart() | host.Rebuild() | host.Move() | host.Kill() | host.Destroy() | host.SetPaused():
                return self._change(request)
            case host.Start() | host.Stop():
                return self._lifecycle(request)
            case host.Send():
                return self._send(request)
            case host.WaitReply():
                reply = self.replies.get(request.id)
                return Response(inbox=[reply] if reply else [])
            case host.Inbox():
                return self._inbox(request)
            case host.InboxHandled():
                return self._handle(request)
            case host.ReceiptFor():
                return Response(receipt=self._receipt(request.id))
            case host.DeadLetters():
                return Response(inbox=list(self.dead.values()))
            case host.Requeue() | host.Drop():
                return self._take_dead(request.id)
            case host.Logs():
                self._known(request.name)
                return Response(messages=self.log[-request.lines :])
            case host.SetModel():
                return self._set_model(request)
            case host.AgentLogin() | host.AgentLoginCode():
                self._known(request.name)
                return Response(login=self.login_steps.pop(0) if self.login_steps else Login(state="done"))
            case host.Cancel() | host.NewSession() | host.Compact() | host.AgentLoginCancel():
                self._known(request.name)
                return Response(done=True)
            case host.Stats():
                return Response(stats=turn_stats(request.name or ""))
            case host.LoginLink():
                return Response(login_link="http://127.0.0.1:7000/login#token")
            case host.WebSessions():
                return Response(web_sessions=self.sessions)
            case host.CreateToken():
                return self._create_token(request)
            case host.Tokens():
                return Response(tokens=self.tokens[::-1])
            case host.RevokeToken():
                self.tokens = [token for token in self.tokens if token.id != request.id]
                return Response()
            case host.AddNotifyTarget():
                return self._add_target(request)
            case host.NotifyTargets():
                return Response(notify_targets=self.notify_targets)
            case host.TestNotifyTarget():
                name, error = request.name or "ntfy", self.notify_error
                return Response(notify_tests=[host.NotifyTest(name=name, ok=not error, error=error)])
            case host.RemoveNotifyTarget():
                self.notify_targets = [target for target in self.notify_targets if target.name != request.name]
                return Response()
            case host.SetCredential() | host.Credential():
                return Response(credential=self.credential or UNSET, accounts=self.accounts or UNSET)
            case host.Shell():
                self._known(request.name)
                return Response(shell=host.ShellCommand(argv=self.shell_argv))
            case _:
                return Response()

    def _info(self) -> host.HiveInfo:
        return host.HiveInfo(
            version="0", pid=1, backend="fake", state_dir="/nowhere", runtime_dir="/nowhere", agents=len(self.agents)
        )

    def _spawn(self, request: host.Spawn) -> Response:
        self.agents[request.name] = agent_row(request.name, model=request.model)
        return Response()

    def _change(
        self, request: host.Restart | host.Rebuild | host.Move | host.Kill | host.Destroy | host.SetPaused
    ) -> Response:
        row = self._known(request.name)
        if isinstance(request, host.Destroy):
            del self.agents[request.name]
        elif isinstance(request, host.SetPaused):
            self.agents[request.name] = msgspec.structs.replace(row, paused=request.paused)
        else:
            self.agents[request.name] = msgspec.structs.replace(row, running=not isinstance(request, host.Kill))
        return Response()

    def _lifecycle(self, request: host.Start | host.Stop) -> Response:
        names = list(self.agents) if request.scope.all else request.scope.agent_names
        if not names:
            raise FaultError(FaultKind.INVALID_PARAMS, "an empty scope means nobody; pass all: true for every agent")
        for name in names:
            row = self._known(name)
            self.agents[name] = msgspec.structs.replace(row, running=isinstance(request, host.Start))
        return Response()

    def _send(self, request: host.Send) -> Response:
        self.sent += 1
        self.on_send(request)
        return Response(ids=[self.sent])

    def _inbox(self, request: host.Inbox) -> Response:
        rows = [row for row in self.inbox if row.state != "handled" or not request.unread_only]
        return Response(inbox=rows[-request.limit :])

    def _handle(self, request: host.InboxHandled) -> Response:
        with self.news:
            self.inbox = [_handled(row) if row.id in request.ids else row for row in self.inbox]
            self.news.notify_all()
        return Response()

    def _take_dead(self, message: int) -> Response:
        if self.dead.pop(message, None) is None:
            raise FaultError(FaultKind.UNKNOWN_MESSAGE, f"there is no dead message {message}")
        return Response()

    def _receipt(self, message: int) -> Receipt:
        if not 0 < message <= self.sent:
            raise FaultError(FaultKind.UNKNOWN_MESSAGE, f"there is no message {message}")
        return Receipt(id=message, to="alpha", state="sent", sent_at=NOON_UNIX, attempt=1)

    def _set_model(self, request: host.SetModel) -> Response:
        row = self._known(request.name)
        self.agents[request.name] = msgspec.structs.replace(row, active_model=request.model)
        return Response(model=request.model)

    def _create_token(self, request: host.CreateToken) -> Response:
        made = host.ApiToken(id=len(self.tokens) + 1, name=request.name, scope=request.scope, created_at=NOON)
        self.tokens.append(made)
        return Response(token="hive_token", tokens=[made])

    def _add_target(self, request: host.AddNotifyTarget) -> Response:
        kinds = [str(kind) for kind in request.kinds or BY_DEFAULT]
        added = host.NotifyTarget(name=request.name or "ntfy", url="ntfy://…", kinds=kinds)
        self.notify_targets.append(added)
        return Response(notify_targets=[added])

    def _known(self, name: str) -> host.AgentStatusRow:
        if name not in self.agents:
            raise FaultError(FaultKind.UNKNOWN_AGENT, f"agent {name!r} is not managed by this hive")
        return self.agents[name]


def agent_row(name: str, *, model: str | None = None) -> host.AgentStatusRow:
    """A running agent with nothing the matter."""
    return host.AgentStatusRow(
        name=name, running=True, failed=False, needs_update=False, needs_login=False, active_model=model or UNSET
    )


def turn_stats(agent: str) -> host.TurnStats:
    """Of two turns, one of which failed."""
    return host.TurnStats(
        agent=agent, since=NOON, until=NOON, turns=2, cost_usd=0.5, input_tokens=10, output_tokens=20,
        cache_read_tokens=30, cache_creation_tokens=40, tool_calls=5, p50_s=1.5, p95_s=9.0,
        outcomes=[
            host.TurnShare(name="ok", turns=1, cost_usd=0.2), host.TurnShare(name="failed", turns=1, cost_usd=0.3),
        ],
        causes=[host.TurnShare(name="\x1b[31moperator", turns=2, cost_usd=0.5)],
        models=[host.TurnShare(name="haiku", turns=2, cost_usd=0.5)],
        agents=[host.TurnShare(name="alpha", turns=2, cost_usd=0.5)],
        parts=[host.TurnPart(since=NOON, turns=2, not_ok=1, cost_usd=0.5)],
    )  # fmt: skip


def letter_row(number: int, body: str, *, sender: str = "alpha", state: str = "sent") -> host.InboxRow:
    """A message to the operator."""
    return host.InboxRow(id=number, sender=sender, to="operator", kind="agent", body=body, sent_at=NOON, state=state)


def _handled(row: host.InboxRow) -> host.InboxRow:
    return msgspec.structs.replace(row, state="handled")


class FakeHost:
    """Serves a `FakeHive` on a socket from threads of its own, for as long as the block lasts."""

    def __init__(self, socket_path: Path) -> None:
        self.hive = FakeHive()
        self._path = socket_path
        self._server = _Server(str(socket_path), self.hive)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.hive.break_streams()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, hive: FakeHive) -> None:
        super().__init__(path, _Connection)
        self.hive = hive


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline(MAX_LINE + 1)
        try:
            for answer in self._answers(line):
                self.wfile.write(msgspec.json.encode(answer) + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # the client has seen enough

    def _answers(self, line: bytes) -> Iterator[Response]:
        assert isinstance(self.server, _Server)
        try:
            yield from self.server.hive.answers(_decode(line))
        except FaultError as fault:
            yield Response(ok=False, error=fault.message, error_kind=fault.kind)
        except msgspec.DecodeError as error:
            yield Response(ok=False, error=str(error), error_kind=FaultKind.MALFORMED)


_decode: Final[Any] = msgspec.json.Decoder(host.AnyRequest).decode
