"""The agent socket: JSON-RPC methods between the hive and the runner inside a container.

Identity is the socket: nothing here says who the caller is.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hyperhive.protocol.events import EventRecord
from hyperhive.protocol.ids import AnyName
from hyperhive.protocol.rpc import Method, Nothing
from hyperhive.protocol.settings import SYSTEMS, EntryName, ModelName, Schedule

MAX_BODY: Final = 64 * 1024
"""Bytes of a message's body in UTF-8."""
MAX_WAIT_S: Final = 180
MAX_BATCH: Final = 32
MAX_ANSWER: Final = 16 << 20
"""Bytes of a line from the hive: a batch of the largest bodies, each of their bytes escaped, fits into it."""
HEARTBEAT_S: Final = 30
LEASE_S: Final = 120

MessageKey = Annotated[str, Meta(min_length=1, max_length=128)]
Word = Annotated[str, Meta(max_length=16, pattern=r"^[a-z_]*\Z")]
UnixTime = Annotated[float, Meta(ge=0, le=2**37)]
"""Seconds; the bound is a year that every calendar has."""
Ids = Annotated[list[int], Meta(max_length=1024)]


class MessageKind(StrEnum):
    """Who a message comes from, as the hive knows it."""

    OPERATOR = "operator"
    MANAGER = "manager"
    AGENT = "agent"
    SYSTEM = "system"
    EXTERNAL = "external"


class EarlierSend(Struct, frozen=True, kw_only=True):
    """A message that an earlier, unfinished attempt had already sent."""

    id: int
    to: str
    sent_at: float
    headline: str = ""


class Envelope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message with what the hive vouches for. Times are Unix seconds."""

    id: int
    sender: str = msgspec.field(name="from")
    to: str
    kind: str
    body: str
    sent_at: float
    in_reply_to: int | None = None
    thread: int = 0  #: id of the message that began the conversation
    attempt: int = 1  #: over 1: an earlier attempt did not end well
    begun: bool = False  #: an earlier turn had read it and was cut short, through nobody's fault if attempt is 1
    broadcast: bool = False
    earlier_sends: list[EarlierSend] = []


# the runner calls the hive


class Hello(Struct, frozen=True, kw_only=True):
    """First call on a connection. The same `boot_id` again continues its epoch; a new one fences off the older."""

    boot_id: Annotated[str, Meta(min_length=8, max_length=64)]
    version: Annotated[str, Meta(max_length=64)] = ""
    claude_version: Annotated[str, Meta(max_length=64)] = ""
    canary: bool = False  #: the runner sends canaries back


class Welcome(Struct, frozen=True, kw_only=True):
    agent: str
    role: str
    epoch: int
    paused: bool
    events_seen: int  #: highest event seq the hive has stored; send what is above it
    peers: list[str] = []
    held: list[int] = []  #: ids this epoch still holds a lease on (after the connection was lost)
    credential: str = ""  #: the mark of the hive's credential that the agent may ask for; empty: there is none for it


class Recv(Struct, frozen=True, kw_only=True):
    """Lease up to `max` messages, waiting for the first. `ack` rides along and is done first. wait 0 is a peek."""

    epoch: int
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)] = 30
    max: Annotated[int, Meta(ge=1, le=MAX_BATCH)] = MAX_BATCH
    ack: Ids = []


class Received(Struct, frozen=True, kw_only=True):
    messages: list[Envelope] = []  #: leased to the caller; empty for a peek, when paused and when nothing came
    unread: int = 0  #: queued messages that were not handed out
    canary: str = ""  #: the mark of a canary: it goes back with an ack at once, and claude never hears of it


class Read(Struct, frozen=True, kw_only=True):
    """These leased messages have entered claude's context, in this turn."""

    epoch: int
    ids: Ids
    turn: MessageKey


class Ack(Struct, frozen=True, kw_only=True):
    """The turn that read these ended well, or nothing but a canary has come."""

    epoch: int
    ids: Ids
    canary: Annotated[str, Meta(max_length=64)] = ""


class Release(Struct, frozen=True, kw_only=True):
    """Give leased or read messages back to the queue. `failed` counts the attempt and backs off."""

    epoch: int
    ids: Ids
    failed: bool
    reason: Annotated[str, Meta(max_length=2000)] = ""


class Settled(Struct, frozen=True, kw_only=True):
    """How many rows changed, and which ids were not the caller's any more."""

    done: int
    stale: list[int] = []


class Heartbeat(Struct, frozen=True, kw_only=True):
    epoch: int


class Send(Struct, frozen=True, kw_only=True):
    """`mid` is made by the sender before its first try: the same again is answered with the first result."""

    mid: MessageKey
    to: AnyName
    body: str
    in_reply_to: int | None = None
    turn: MessageKey | None = None  #: the turn that sends it


class Sent(Struct, frozen=True, kw_only=True):
    """Durable when this arrives. A broadcast has one id per recipient."""

    ids: list[int]
    recipients: list[str]
    duplicate: bool = False


class ReceiptOf(Struct, frozen=True, kw_only=True):
    id: int


class ReceiptState(StrEnum):
    """What a sender sees of its message."""

    SENT = "sent"
    LEASED = "leased"
    READ = "read"
    HANDLED = "handled"
    DEAD = "dead"


class Receipt(Struct, frozen=True, kw_only=True):
    id: int
    to: str
    state: str
    sent_at: float
    attempt: int
    read_at: float | None = None
    handled_at: float | None = None
    note: str = ""


class SetStatus(Struct, frozen=True, kw_only=True):
    text: Annotated[str, Meta(max_length=500)]


class Colleague(Struct, frozen=True, kw_only=True):
    """Another agent, as an agent sees it."""

    name: str
    role: str
    state: str
    status_text: str = ""
    description: str = ""
    parent: str = ""  #: the agent that steers it


class Colleagues(Struct, frozen=True, kw_only=True):
    agents: list[Colleague]


class Whoami(Struct, frozen=True, kw_only=True):
    agent: str
    role: str
    unread: int
    parent: str = ""
    tool_groups: list[str] = []
    held: bool = False  #: it is given no mail, and is to begin no turn by itself: paused, or its budget is spent


class Credential(Struct, frozen=True, kw_only=True):
    """The hive's credential: secrets for claude's environment. Empty for an agent whose config does not ask for it."""

    env: dict[str, str] = {}
    mark: str = ""  #: another one each time that the credential is set; empty: there is none

    def __repr__(self) -> str:
        return f"Credential(mark={self.mark!r})"


class LoginState(StrEnum):
    """How far a login of claude's has come."""

    STARTING = "starting"
    WAITING = "waiting"  #: for the code that the operator brings from the link
    CHECKING = "checking"  #: the code was handed over
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNDER_WAY: Final = frozenset({LoginState.STARTING, LoginState.WAITING, LoginState.CHECKING})
"""The states of a login that has not come to its end."""


class Login(Struct, frozen=True, kw_only=True):
    """The latest login in the agent's container. What claude said is from inside: data, never to be followed."""

    state: Word
    url: Annotated[str, Meta(max_length=4096)] = ""  #: the link, while it waits for the code
    note: Annotated[str, Meta(max_length=2000)] = ""  #: why it failed, in claude's words


class AuthState(StrEnum):
    """How claude in an agent's container gets in."""

    OK = "ok"
    RENEWAL_FAILED = "renewal_failed"  #: claude could not renew its login, and has emptied it
    NONE = "none"  #: there was never a login
    REFUSED = "refused"  #: what claude has was refused: its login, or the hive's credential


class Auth(Struct, frozen=True, kw_only=True):
    """What is known of the login that claude uses, without asking anybody. Times are Unix seconds, 0: not known.

    What `renews_at` is past is harmless: claude renews its access by itself, until `valid_until`.
    """

    state: Word
    renews_at: UnixTime = 0.0
    valid_until: UnixTime = 0.0
    note: Annotated[str, Meta(max_length=500)] = ""  #: why it is refused, in claude's words


class Window(Struct, frozen=True, kw_only=True):
    """How much of an account may be used in a while, as claude was told with an answer of the model's."""

    name: Word  #: five_hour, seven_day
    utilization: Annotated[float, Meta(ge=0, le=100)]  #: part of it that is used; 1: all
    resets_at: UnixTime  #: Unix seconds


class Report(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The harness's state, sent when it changes. Unset fields are unchanged."""

    turn_state: Word | UnsetType = UNSET
    rest: Word | UnsetType = UNSET
    model: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    session_id: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    needs_login: bool | UnsetType = UNSET
    login: Login | UnsetType = UNSET
    auth: Auth | UnsetType = UNSET
    limited_until: UnixTime | UnsetType = UNSET  #: a usage limit; Unix seconds; 0: not limited
    overloaded_until: UnixTime | UnsetType = UNSET  #: the model did not answer; when it is tried again, 0: it did
    windows: Annotated[list[Window], Meta(max_length=8)] | UnsetType = UNSET
    context_tokens: Annotated[int, Meta(ge=0, le=2**53)] | UnsetType = UNSET


class Events(Struct, frozen=True, kw_only=True):
    records: Annotated[list[EventRecord], Meta(max_length=2000)]


class EventsSeen(Struct, frozen=True, kw_only=True):
    seq: int  #: everything up to here is stored by the hive


# questions, reminders and what is open

MAX_TTL_S: Final = 6 * 3600
MAX_REMINDER: Final = 4096
"""Bytes of a reminder's text."""
MAX_REMINDERS: Final = 50
"""Pending ones of one agent."""
Summary = Annotated[str, Meta(max_length=2000)]


class Ask(Struct, frozen=True, kw_only=True):
    """A question to the operator (no `to`) or to another agent. The answer arrives as a message. `mid` as in Send."""

    mid: MessageKey
    question: Annotated[str, Meta(min_length=1, max_length=4096)]
    options: Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=20)] = []
    multi: bool = False  #: more than one option may be picked
    ttl_seconds: Annotated[int, Meta(ge=1, le=MAX_TTL_S)] | None = None
    to: AnyName | None = None


class Asked(Struct, frozen=True, kw_only=True):
    id: int


class AnswerTo(Struct, frozen=True, kw_only=True):
    """Answer a question that was put to the caller."""

    id: int
    answer: Annotated[str, Meta(min_length=1, max_length=8192)]


class Remind(Struct, frozen=True, kw_only=True):
    """A message to oneself, after `delay_seconds` or at the Unix time `at`: one of the two. `mid` as in Send."""

    mid: MessageKey
    message: Annotated[str, Meta(min_length=1, max_length=MAX_REMINDER)]
    delay_seconds: Annotated[float, Meta(ge=0, le=366 * 86400)] | None = None
    at: Annotated[float, Meta(ge=0, le=2**40)] | None = None


class ReminderSet(Struct, frozen=True, kw_only=True):
    id: int
    due_at: float  #: Unix seconds


class LooseEndKind(StrEnum):
    QUESTION = "question"
    REMINDER = "reminder"
    APPROVAL = "approval"


class LooseEnd(Struct, frozen=True, kw_only=True):
    """Something of the caller's that is not finished. Times are Unix seconds."""

    kind: str
    id: int
    text: str
    asker: str = ""  #: of a question
    target: str = ""  #: who has to answer it; of an approval: the agent that it is about
    since: float = 0
    due_at: float | None = None  #: when a reminder comes or a question expires


class LooseEnds(Struct, frozen=True, kw_only=True):
    ends: list[LooseEnd]


class CancelLooseEnd(Struct, frozen=True, kw_only=True):
    """A question that the caller asked, a reminder of its own, an approval that it asked for."""

    kind: LooseEndKind
    id: int


# what only agents with tool groups may call


class Subject(Struct, frozen=True, kw_only=True):
    """The agent to act on."""

    name: AnyName


class JobAnswer(Struct, frozen=True, kw_only=True):
    """The job that carries it out, as it is now: done, failed, or still under way."""

    job: int
    state: str
    error: str = ""


class RequestSpawn(Struct, frozen=True, kw_only=True):
    mid: MessageKey
    name: AnyName
    description: Annotated[str, Meta(max_length=500)] = ""


class RequestApplyCommit(Struct, frozen=True, kw_only=True):
    """Propose a commit of the agent's config repository: 7 to 40 hex digits, never a name of a branch or tag."""

    mid: MessageKey
    agent: AnyName
    commit_ref: Annotated[str, Meta(max_length=128)]
    description: Summary = ""


class RequestSchedule(Struct, frozen=True, kw_only=True):
    """Propose the agent's deployed config with this schedule under this name, in the place of any that it has there.
    `mid` as in Send."""

    mid: MessageKey
    agent: AnyName
    name: EntryName
    schedule: Schedule
    description: Summary = ""


class RequestScheduleRemoval(Struct, frozen=True, kw_only=True):
    """Propose the agent's deployed config without the schedule of this name."""

    mid: MessageKey
    agent: AnyName
    name: EntryName
    description: Summary = ""


class RequestUpdateMetaInputs(Struct, frozen=True, kw_only=True):
    """Propose newer revisions of these inputs of all agents' systems, or of all inputs. `mid` as in Send."""

    mid: MessageKey
    inputs: Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=50)] = []
    description: Summary = ""


class Requested(Struct, frozen=True, kw_only=True):
    """What waits for the operator now."""

    approval: int
    sha: str = ""  #: the commit that is pinned
    warnings: list[str] = []  #: what the operator will be warned of


class GetLogs(Struct, frozen=True, kw_only=True):
    agent: AnyName
    lines: Annotated[int, Meta(ge=1, le=500)] = 50


class LogLines(Struct, frozen=True, kw_only=True):
    lines: list[str]


class GetApprovals(Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ApprovalInfo(Struct, frozen=True, kw_only=True):
    """An approval as an agent sees it. Times are Unix seconds."""

    id: int
    agent: str
    kind: str
    status: str
    sha: str = ""
    description: str = ""
    note: str = ""  #: the reason of a denial, the error of a failure
    requested_at: float = 0
    resolved_at: float | None = None


class ApprovalList(Struct, frozen=True, kw_only=True):
    approvals: list[ApprovalInfo]  #: newest first


HELLO: Final = Method("hello", Hello, Welcome)
RECV: Final = Method("recv", Recv, Received)
READ: Final = Method("read", Read, Settled)
ACK: Final = Method("ack", Ack, Settled)
RELEASE: Final = Method("release", Release, Settled)
HEARTBEAT: Final = Method("heartbeat", Heartbeat, Nothing)
SEND: Final = Method("send", Send, Sent)
RECEIPT: Final = Method("receipt", ReceiptOf, Receipt)
SET_STATUS: Final = Method("set_status", SetStatus, Nothing)
LIST_AGENTS: Final = Method("list_agents", Nothing, Colleagues)
WHOAMI: Final = Method("whoami", Nothing, Whoami)
CREDENTIAL: Final = Method("credential", Nothing, Credential)
REPORT: Final = Method("report", Report, Nothing)
EVENTS: Final = Method("events", Events, EventsSeen)
ASK: Final = Method("ask", Ask, Asked)
ANSWER: Final = Method("answer", AnswerTo, Nothing)
REMIND: Final = Method("remind", Remind, ReminderSet)
GET_LOOSE_ENDS: Final = Method("get_loose_ends", Nothing, LooseEnds)
CANCEL_LOOSE_END: Final = Method("cancel_loose_end", CancelLooseEnd, Nothing)
KILL: Final = Method("kill", Subject, JobAnswer)
START: Final = Method("start", Subject, JobAnswer)
RESTART: Final = Method("restart", Subject, JobAnswer)
UPDATE: Final = Method("update", Subject, JobAnswer)
REQUEST_SPAWN: Final = Method("request_spawn", RequestSpawn, Requested)
REQUEST_INIT_CONFIG: Final = Method("request_init_config", RequestSpawn, Requested)
REQUEST_APPLY_COMMIT: Final = Method("request_apply_commit", RequestApplyCommit, Requested)
REQUEST_SCHEDULE: Final = Method("request_schedule", RequestSchedule, Requested)
REQUEST_SCHEDULE_REMOVAL: Final = Method("request_schedule_removal", RequestScheduleRemoval, Requested)
REQUEST_UPDATE_META_INPUTS: Final = Method("request_update_meta_inputs", RequestUpdateMetaInputs, Requested)
GET_LOGS: Final = Method("get_logs", GetLogs, LogLines)
GET_APPROVALS: Final = Method("get_approvals", GetApprovals, ApprovalList)

GROUP_METHODS: Final[dict[str, tuple[Method[Any, Any], ...]]] = {
    "lifecycle": (KILL, START, RESTART, UPDATE),
    "approvals": (
        REQUEST_SPAWN, REQUEST_INIT_CONFIG, REQUEST_APPLY_COMMIT, REQUEST_SCHEDULE, REQUEST_SCHEDULE_REMOVAL,
        GET_APPROVALS,
    ),
    "diagnostics": (GET_LOGS,),
    SYSTEMS: (REQUEST_UPDATE_META_INPUTS,),
}  # fmt: skip
"""The methods of each tool group; whoever does not have the group is refused."""

HIVE_METHODS: Final[tuple[Method[Any, Any], ...]] = (
    HELLO, RECV, READ, ACK, RELEASE, HEARTBEAT, SEND, RECEIPT, SET_STATUS, LIST_AGENTS, WHOAMI, REPORT, EVENTS,
    CREDENTIAL, ASK, ANSWER, REMIND, GET_LOOSE_ENDS, CANCEL_LOOSE_END,
    KILL, START, RESTART, UPDATE, REQUEST_SPAWN, REQUEST_INIT_CONFIG, REQUEST_APPLY_COMMIT, REQUEST_SCHEDULE,
    REQUEST_SCHEDULE_REMOVAL, REQUEST_UPDATE_META_INPUTS, GET_LOGS, GET_APPROVALS,
)  # fmt: skip


# the hive calls the runner


class Arrived(Struct, frozen=True, kw_only=True):
    """Mail came in while a turn runs: announced to claude at the next tool boundary."""

    unread: int
    senders: list[str]


class SetModel(Struct, frozen=True, kw_only=True):
    model: ModelName


class ModelSet(Struct, frozen=True, kw_only=True):
    model: str
    warning: str = ""  #: why the choice will not survive a restart, when it will not


class Done(Struct, frozen=True, kw_only=True):
    """Whether the command found anything to act on."""

    done: bool


class Compact(Struct, frozen=True, kw_only=True):
    """Let claude summarise its conversation and go on from that; a turn under way ends first."""

    instructions: Annotated[str, Meta(max_length=2000)] = ""  #: what the summary should keep


class LoginCode(Struct, frozen=True, kw_only=True):
    """What the operator was shown at the end of the link."""

    code: Annotated[str, Meta(min_length=1, max_length=4096)]


class CredentialMark(Struct, frozen=True, kw_only=True):
    """Of the hive's credential as it is now; empty: there is none any more."""

    mark: Annotated[str, Meta(max_length=64)] = ""


class Pause(Struct, frozen=True, kw_only=True):
    paused: bool


class Attach(Struct, frozen=True, kw_only=True):
    """Leave the conversation to the operator, who enters the container: no turn begins until `detach`."""

    interrupt: bool = False  #: end a turn under way; its messages go back unharmed


class OverBudget(Struct, frozen=True, kw_only=True):
    """End the turn under way; its messages go back unharmed and wait in the queue."""

    reason: Annotated[str, Meta(max_length=500)] = ""


class Unstick(Struct, frozen=True, kw_only=True):
    """The agent seems to be stuck in its turn. `nudge`: tell claude at the next tool boundary; `interrupt`: end the
    turn; `restart_claude`: end claude, and with it the turn. The messages of an ended turn go back as failed."""

    step: Literal["nudge", "interrupt", "restart_claude"]
    reason: Annotated[str, Meta(max_length=500)] = ""


class Shutdown(Struct, frozen=True, kw_only=True):
    """End claude and the runner: at once, or when the turn under way has ended, at most `grace_seconds` later."""

    grace_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0


ARRIVED: Final = Method("arrived", Arrived, Nothing)
CANCEL: Final = Method("cancel", Nothing, Done)
NEW_SESSION: Final = Method("new_session", Nothing, Done)
SET_MODEL: Final = Method("set_model", SetModel, ModelSet)
COMPACT: Final = Method("compact", Compact, Done)
LOGIN_START: Final = Method("login_start", Nothing, Login)
LOGIN_CODE: Final = Method("login_code", LoginCode, Login)
LOGIN_CANCEL: Final = Method("login_cancel", Nothing, Done)
CREDENTIAL_CHANGED: Final = Method("credential_changed", CredentialMark, Nothing)
PAUSE: Final = Method("pause", Pause, Nothing)
ATTACH: Final = Method("attach", Attach, Nothing)
DETACH: Final = Method("detach", Nothing, Nothing)
OVER_BUDGET: Final = Method("over_budget", OverBudget, Done)
UNSTICK: Final = Method("unstick", Unstick, Done)
SHUTDOWN: Final = Method("shutdown", Shutdown, Nothing)

RUNNER_METHODS: Final[tuple[Method[Any, Any], ...]] = (
    ARRIVED,
    CANCEL,
    NEW_SESSION,
    SET_MODEL,
    COMPACT,
    LOGIN_START,
    LOGIN_CODE,
    LOGIN_CANCEL,
    CREDENTIAL_CHANGED,
    PAUSE,
    ATTACH,
    DETACH,
    OVER_BUDGET,
    UNSTICK,
    SHUTDOWN,
)
