"""The admin socket, `host.sock`: one JSON object a line, tagged by `cmd`, one request a connection.

Version 1 as operators' existing clients speak it; everything of ours beyond it is a new verb or an optional field.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hyperhive.protocol.agent import Receipt
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.ids import AnyName

HOST_SOCK_VERSION: Final = 1

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


class Request(Struct, frozen=True, kw_only=True, tag_field="cmd", tag=_snake):
    """Base of the verbs; the tag is the class's name in snake_case."""


class LifecycleScope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom `start` and `stop` mean. An empty scope is refused: say `all`."""

    agents: bool = False  #: every agent
    agent_names: list[AnyName] = []
    ci: bool = False
    forge: bool = False
    gateway: bool = False
    matrix: bool = False
    all: bool = False


# version 1


class List(Request, frozen=True): ...


class AgentStatus(Request, frozen=True): ...


class SubscribeAgentStatus(Request, frozen=True): ...


class Urls(Request, frozen=True): ...


class SetPaused(Request, frozen=True):
    name: AnyName
    paused: bool


class Start(Request, frozen=True):
    scope: LifecycleScope


class Stop(Request, frozen=True):
    scope: LifecycleScope
    graceful: bool = False  #: let the turn under way end first


class Restart(Request, frozen=True):
    name: AnyName


class Pending(Request, frozen=True): ...


class Approve(Request, frozen=True):
    id: Int64


class Deny(Request, frozen=True):
    id: Int64
    reason: Annotated[str, Meta(max_length=2000)] = ""


class Spawn(Request, frozen=True):
    name: AnyName
    model: str | None = None
    description: Annotated[str, Meta(max_length=500)] = ""


class RequestSpawn(Request, frozen=True):
    name: AnyName
    description: Annotated[str, Meta(max_length=500)] = ""


class Kill(Request, frozen=True):
    """Stop one agent: the older spelling."""

    name: AnyName


class Destroy(Request, frozen=True):
    name: AnyName
    purge: bool = False


class Rebuild(Request, frozen=True):
    name: AnyName


# ours


class Hello(Request, frozen=True):
    """Who is there: the daemon's version, directories and what it can do."""


class Send(Request, frozen=True):
    to: AnyName
    body: str
    mid: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    in_reply_to: Int64 | None = None


class WaitReply(Request, frozen=True):
    """Wait for the first message to the operator in the thread that the message began or is in."""

    id: Int64
    timeout_seconds: Annotated[float, Meta(ge=0, le=86400)] = 600


class Inbox(Request, frozen=True):
    """Messages to `name` (the operator's own unless said), newest last. Reading does not mark them."""

    name: AnyName = "operator"
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    unread_only: bool = False


class InboxHandled(Request, frozen=True):
    """The operator has seen these messages of their own inbox."""

    ids: Annotated[list[Int64], Meta(max_length=1000)]


class ReceiptFor(Request, frozen=True):
    id: Int64


class DeadLetters(Request, frozen=True): ...


class Requeue(Request, frozen=True):
    """Put a dead message back into its inbox, with its attempts at zero."""

    id: Int64


class Drop(Request, frozen=True):
    """Set a dead message aside for good; its row stays until the vacuum."""

    id: Int64


class Watch(Request, frozen=True):
    """Events as they happen, after `history` older ones or all after event `since`. Keeps the connection."""

    name: AnyName | None = None  #: one agent, or everything
    since: Int64 | None = None
    history: Annotated[int, Meta(ge=0, le=2000)] = 0
    follow: bool = True


class Logs(Request, frozen=True):
    """What the container wrote. With `follow` the connection is kept and more `messages` come."""

    name: AnyName
    lines: Annotated[int, Meta(ge=1, le=5000)] = 200
    follow: bool = False


class SetModel(Request, frozen=True):
    name: AnyName
    model: Annotated[str, Meta(min_length=1, max_length=200)]


class Cancel(Request, frozen=True):
    """Interrupt the turn under way."""

    name: AnyName


class NewSession(Request, frozen=True):
    """The agent's next turn begins a new conversation."""

    name: AnyName


class Shell(Request, frozen=True):
    """The command that enters the agent's container, for the caller to run with its own rights."""

    name: AnyName


class Tombstones(Request, frozen=True):
    """Destroyed agents whose state was kept."""


AnyRequest = (
    List | AgentStatus | SubscribeAgentStatus | Urls | SetPaused | Start | Stop | Restart | Pending | Approve | Deny
    | Spawn | RequestSpawn | Kill | Destroy | Rebuild | Hello | Send | WaitReply | Inbox | InboxHandled | ReceiptFor
    | DeadLetters | Requeue | Drop | Watch | Logs | SetModel | Cancel | NewSession | Shell | Tombstones
)  # fmt: skip


# answers


class AgentStatusRow(Struct, frozen=True, kw_only=True):
    """One agent in the roster. Key order and the always-present keys are the wire's."""

    name: str
    running: bool
    failed: bool
    needs_update: bool
    needs_login: bool
    deployed_sha: str | UnsetType = UNSET
    pending_reminders: int = 0
    paused: bool = False
    parent: str | UnsetType = UNSET
    active_model: str | UnsetType = UNSET
    status_text: str | UnsetType = UNSET
    status_set_at: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    # ours
    role: str | UnsetType = UNSET
    container: str | UnsetType = UNSET
    wanted: str | UnsetType = UNSET  #: up, paused, down
    state: str | UnsetType = UNSET  #: one word by precedence: failed, needs_login, paused, stopped, asleep, …
    rest: str | UnsetType = UNSET  #: warm, dozing, asleep
    turn_state: str | UnsetType = UNSET
    unread: int | UnsetType = UNSET
    description: str | UnsetType = UNSET
    failure: str | UnsetType = UNSET  #: why it is failed, in words


class HiveUrls(Struct, frozen=True, kw_only=True):
    domain: str | None = None
    home: str | None = None
    forge: str | None = None
    matrix: str | None = None


class Approval(Struct, frozen=True, kw_only=True):
    """A row of the approval queue. Times are RFC 3339 in UTC."""

    id: int
    agent: str
    kind: str
    commit_ref: str
    fetched_sha: str | UnsetType = UNSET
    requested_at: str
    status: str
    resolved_at: str | UnsetType = UNSET
    note: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class InboxRow(Struct, frozen=True, kw_only=True):
    id: int
    sender: str = msgspec.field(name="from")
    to: str
    kind: str
    body: str
    sent_at: str
    state: str  #: as `Receipt.state`
    in_reply_to: int | UnsetType = UNSET
    thread: int | UnsetType = UNSET
    attempt: int = 1
    note: str | UnsetType = UNSET


class HiveInfo(Struct, frozen=True, kw_only=True):
    version: str
    pid: int
    backend: str
    state_dir: str
    runtime_dir: str
    agents: int
    rehearsal: bool = False


class Tombstone(Struct, frozen=True, kw_only=True):
    name: str
    size_bytes: int
    last_modified: str
    has_credentials: bool


class ShellCommand(Struct, frozen=True, kw_only=True):
    argv: list[str]
    needs_root: bool = False


class Response(Struct, frozen=True, kw_only=True):
    """Every answer. Absent fields are omitted, so a bare success is `{"version":1,"ok":true}`."""

    version: int = HOST_SOCK_VERSION
    ok: bool = True
    error: str | UnsetType = UNSET
    agents: list[str] | UnsetType = UNSET
    approvals: list[Approval] | UnsetType = UNSET
    agent_statuses: list[AgentStatusRow] | UnsetType = UNSET
    urls: HiveUrls | UnsetType = UNSET
    messages: list[str] | UnsetType = UNSET  #: lines to print
    # ours
    error_kind: str | UnsetType = UNSET  #: a FaultKind
    hive: HiveInfo | UnsetType = UNSET
    ids: list[int] | UnsetType = UNSET  #: of messages sent or approvals queued
    inbox: list[InboxRow] | UnsetType = UNSET
    receipt: Receipt | UnsetType = UNSET
    events: list[HiveEvent] | UnsetType = UNSET
    model: str | UnsetType = UNSET
    warning: str | UnsetType = UNSET
    done: bool | UnsetType = UNSET
    shell: ShellCommand | UnsetType = UNSET
    tombstones: list[Tombstone] | UnsetType = UNSET


REQUESTS: Final[tuple[type[Any], ...]] = AnyRequest.__args__
