"""The admin socket, `host.sock`: one JSON object a line, tagged by `cmd`, one request a connection.

Version 1 as operators' existing clients speak it; everything of ours beyond it is a new verb or an optional field.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hyperhive.protocol.agent import MAX_TTL_S, Login, Receipt
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.ids import AnyName
from hyperhive.protocol.notify import NotifyKind
from hyperhive.protocol.settings import AgentDocument, Usd
from hyperhive.protocol.settings import Tokens as BudgetTokens

HOST_SOCK_VERSION: Final = 1

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Sha = Annotated[str, Meta(max_length=64)]
Description = Annotated[str, Meta(max_length=2000)]


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


class Approve(Request, frozen=True, omit_defaults=True):
    """Decide for it and wait until it is carried out. `sha` is the commit that was shown; another one is refused."""

    id: Int64
    sha: Sha | None = None


class Deny(Request, frozen=True):
    id: Int64
    reason: Annotated[str, Meta(max_length=2000)] = ""


class Spawn(Request, frozen=True, omit_defaults=True):
    """`backend`: how its containers are made; else as in its earlier life, or as is usual in this hive."""

    name: AnyName
    model: str | None = None
    description: Annotated[str, Meta(max_length=500)] = ""
    backend: BackendKind | None = None


class RequestSpawn(Request, frozen=True):
    name: AnyName
    description: Annotated[str, Meta(max_length=500)] = ""


class Kill(Request, frozen=True):
    """Stop one agent: the older spelling."""

    name: AnyName


class Destroy(Request, frozen=True):
    name: AnyName
    purge: bool = False


class Move(Request, frozen=True):
    """Another backend for an agent: its config, login, state and mail stay. When it does not come up it goes back."""

    name: AnyName
    backend: BackendKind


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


class Logs(Request, frozen=True, omit_defaults=True):
    """What the container wrote. With `follow` the connection is kept and more `messages` come."""

    name: AnyName
    lines: Annotated[int, Meta(ge=1, le=5000)] = 200
    follow: bool = False
    unit: Literal["", "harness", "container"] = ""  #: whose words; empty: what is usually wanted
    boot: bool = False  #: only what was written since its latest start


class SetModel(Request, frozen=True):
    name: AnyName
    model: Annotated[str, Meta(min_length=1, max_length=200)]


class Cancel(Request, frozen=True):
    """Interrupt the turn under way."""

    name: AnyName


class NewSession(Request, frozen=True):
    """The agent's next turn begins a new conversation."""

    name: AnyName


class Compact(Request, frozen=True):
    """The agent summarises its conversation and goes on from that, when the turn under way has ended."""

    name: AnyName
    instructions: Annotated[str, Meta(max_length=2000)] = ""  #: what the summary should keep


class AgentLogin(Request, frozen=True):
    """Begin a login of claude's in the agent's container, or go on with the one under way; the answer has its link."""

    name: AnyName


class AgentLoginCode(Request, frozen=True):
    """Hand over the code from the link; the answer comes when claude has taken or refused it."""

    name: AnyName
    code: Annotated[str, Meta(min_length=1, max_length=4096)]


class AgentLoginCancel(Request, frozen=True):
    name: AnyName


class Shell(Request, frozen=True):
    """The command that enters the agent's container, for the caller to run with its own rights."""

    name: AnyName


class Attach(Request, frozen=True, omit_defaults=True):
    """The command that opens claude on the agent's own conversation; the agent takes no turn while the connection
    stays."""

    name: AnyName
    interrupt: bool = False  #: end a turn under way


class Tombstones(Request, frozen=True):
    """Destroyed agents whose state was kept."""


class Revive(Request, frozen=True):
    """Spawn an agent again from its tombstone: its config, login and notes are as they were."""

    name: AnyName


class Purge(Request, frozen=True):
    """Delete a tombstone for good; refused while an agent of the name lives."""

    name: AnyName


class RequestInitConfig(Request, frozen=True):
    """Queue the making of a config repository for an agent that is not there yet."""

    name: AnyName
    description: Annotated[str, Meta(max_length=500)] = ""


class MetaInputs(Request, frozen=True):
    """On NixOS: what the flake of all agents' systems is made from, with ages."""


class RequestUpdateMetaInputs(Request, frozen=True):
    """Queue newer revisions of these inputs, or of all; approved, the agents whose systems change are rebuilt."""

    inputs: Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=50)] = []
    description: Description = ""


class RequestApplyCommit(Request, frozen=True):
    """Propose a commit of the agent's config repository; without `commit_ref` what its HEAD is now."""

    name: AnyName
    commit_ref: Annotated[str, Meta(max_length=128)] = ""
    description: Description = ""


class EditConfig(Request, frozen=True):
    """Propose the deployed config with this text as its agent.toml. `base`: the deployed commit it was made from."""

    name: AnyName
    text: Annotated[str, Meta(max_length=262144)]
    base: Sha | None = None
    description: Description = ""


class Diff(Request, frozen=True):
    """What an approval would change, in one or more answers, whole."""

    id: Int64
    base: Literal["deployed", "approved", "queued"] = "deployed"


class Rollback(Request, frozen=True):
    """Deploy an earlier deployment again; without `to` the one before the current. Waits until it is done."""

    name: AnyName
    to: Int64 | None = None  #: number of the deployment: the <id> of its tag deployed/<id>


class Deployments(Request, frozen=True):
    """The agent's deployments, newest first."""

    name: AnyName
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50


class Config(Request, frozen=True):
    """The agent's settings as they are in effect, and where each comes from."""

    name: AnyName


class UpdateAll(Request, frozen=True):
    """Rebuild every agent whose container is older than what it would be made from now."""


class BuildImage(Request, frozen=True):
    """Make the base image of the nspawn backend from what its sources have today."""


class Images(Request, frozen=True):
    """The images that are there, oldest first."""


class VerifyImages(Request, frozen=True):
    """Compare every file of images with what was made."""

    ids: list[Annotated[str, Meta(max_length=64)]] = []  #: empty: all of them


class CollectImages(Request, frozen=True):
    """Delete the images that no agent needs any more; the answer names them."""


class Jobs(Request, frozen=True):
    """Jobs, newest first. With `follow` the connection stays and every job that changes is told."""

    name: AnyName | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 30
    follow: bool = False


class JobLog(Request, frozen=True):
    """The lines of a job's log; with `follow` until it has ended. The last answer has the job itself."""

    id: Int64
    follow: bool = False


class CancelJob(Request, frozen=True):
    id: Int64


class Questions(Request, frozen=True):
    """Questions, newest first: the unanswered ones, or all."""

    all: bool = False
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Ask(Request, frozen=True):
    """A question of the operator's to an agent; the answer comes to the operator's inbox."""

    to: AnyName
    question: Annotated[str, Meta(min_length=1, max_length=4096)]
    options: Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=20)] = []
    multi: bool = False
    ttl_seconds: Annotated[int, Meta(ge=1, le=MAX_TTL_S)] | None = None


class Answer(Request, frozen=True):
    """Answer a question, also one that was put to an agent."""

    id: Int64
    answer: Annotated[str, Meta(min_length=1, max_length=8192)]


class CancelQuestion(Request, frozen=True):
    id: Int64


class Reminders(Request, frozen=True):
    """What agents have set for themselves and what is not due yet, soonest first."""

    name: AnyName | None = None


class CancelReminder(Request, frozen=True):
    id: Int64


ScheduleName = Annotated[str, Meta(min_length=1, max_length=64)]


class Schedules(Request, frozen=True):
    """The schedules of an agent, or of all, by agent and name."""

    name: AnyName | None = None


class SetSchedulePaused(Request, frozen=True):
    """A paused one sends nothing; when it goes on, what would have come meanwhile does not."""

    name: AnyName
    schedule: ScheduleName
    paused: bool


class FireSchedule(Request, frozen=True):
    """Send the schedule's message now; its next time stays."""

    name: AnyName
    schedule: ScheduleName


class LoginLink(Request, frozen=True):
    """A link that lets one browser into the dashboard, once, within a minute."""


class WebSessions(Request, frozen=True):
    """The browsers that are logged in, newest first."""


class RevokeWebSession(Request, frozen=True):
    """Log a browser out at once, or with `all` every one."""

    id: Int64 | None = None
    all: bool = False


class Stats(Request, frozen=True):
    """What the turns of an agent, or of all, came to in the time up to now."""

    name: AnyName | None = None
    window: Literal["24h", "7d", "30d"] = "24h"


class CreateToken(Request, frozen=True):
    """A token for programs that use the dashboard's API. The answer is the only time that it is shown."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]  #: what it is for
    scope: Literal["read", "operate"] = "read"
    days: Annotated[int, Meta(ge=1, le=3650)] | None = None  #: how long it lasts; without: until it is revoked


class Tokens(Request, frozen=True):
    """The API's tokens, newest first."""


class RevokeToken(Request, frozen=True):
    id: Int64


class SetCredential(Request, frozen=True):
    """The hive's own credential for claude, in the place of the one before: one of the two. No answer has it."""

    secret: Annotated[str, Meta(max_length=4096)] = ""  #: an API key, or a token of `claude setup-token`
    env_file: Annotated[str, Meta(max_length=65536)] = ""  #: lines NAME=VALUE

    def __repr__(self) -> str:
        return "SetCredential()"


class Credential(Request, frozen=True):
    """What may be said of the hive's own credential."""


class UnsetCredential(Request, frozen=True):
    """Forget the hive's own credential; `done` says whether there was one."""


class Budgets(Request, frozen=True):
    """What an agent, or every agent and the whole hive, spent in this day and month, and what they may spend."""

    name: AnyName | None = None


class TopUp(Request, frozen=True):
    """Let an agent, or without a name the whole hive, spend so much more today, and so much more in this month."""

    name: AnyName | None = None
    usd: Usd = 0.0
    tokens: BudgetTokens = 0


class SetHiveBudget(Request, frozen=True):
    """What all agents together may spend. What is absent stays as it is; null takes a bound away."""

    day_usd: Usd | UnsetType | None = UNSET
    month_usd: Usd | UnsetType | None = UNSET
    day_tokens: BudgetTokens | UnsetType | None = UNSET
    month_tokens: BudgetTokens | UnsetType | None = UNSET
    warn_at: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET


class Reserve(Request, frozen=True):
    """What the operator keeps of every account's windows: agents stop when only so much is left. Without `percent`
    it is only said."""

    percent: Annotated[int, Meta(ge=0, le=90)] | None = None


TargetName = Annotated[str, Meta(min_length=1, max_length=64)]


class AddNotifyTarget(Request, frozen=True):
    """Tell the operator there, too, of what happens from now on. The URL is one of apprise's, and a secret."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    kinds: Annotated[list[NotifyKind], Meta(max_length=100)] = []  #: what for; none: what is so by default
    name: Annotated[str, Meta(max_length=64)] = ""  #: without one it is made from the URL's scheme

    def __repr__(self) -> str:
        return f"AddNotifyTarget(name={self.name!r})"


class NotifyTargets(Request, frozen=True):
    """Where the operator is told, and how that goes; of each URL only what is no secret."""


class RemoveNotifyTarget(Request, frozen=True):
    name: TargetName


class TestNotifyTarget(Request, frozen=True):
    """Send a test message to a target, or to all, and wait for what becomes of it."""

    name: TargetName | None = None


AnyRequest = (
    List | AgentStatus | SubscribeAgentStatus | Urls | SetPaused | Start | Stop | Restart | Pending | Approve | Deny
    | Spawn | RequestSpawn | Kill | Destroy | Rebuild | Move | Hello | Send | WaitReply | Inbox | InboxHandled
    | ReceiptFor | DeadLetters | Requeue | Drop | Watch | Logs | SetModel | Cancel | NewSession | Shell | Tombstones
    | Revive | Purge | RequestInitConfig | RequestApplyCommit | EditConfig | Diff | Rollback | Deployments | Config
    | UpdateAll | Jobs | JobLog | CancelJob | Questions | Ask | Answer | CancelQuestion | Reminders | CancelReminder
    | LoginLink | WebSessions | RevokeWebSession | Compact | AgentLogin | AgentLoginCode | AgentLoginCancel
    | CreateToken | Tokens | RevokeToken | Stats | Schedules | SetSchedulePaused | FireSchedule
    | Budgets | TopUp | SetHiveBudget | AddNotifyTarget | NotifyTargets | RemoveNotifyTarget | TestNotifyTarget
    | SetCredential | Credential | UnsetCredential | Reserve | MetaInputs | RequestUpdateMetaInputs
    | Attach | BuildImage | Images | VerifyImages | CollectImages
)  # fmt: skip


# answers


class AuthStatus(Struct, frozen=True, kw_only=True):
    """How claude in an agent's container gets in."""

    state: str  #: ok, lapsed (claude renews it by itself), renewal_failed, none, refused
    valid_until: str | UnsetType = UNSET  #: when its login ends for good; RFC 3339
    text: str  #: the same in words
    note: str | UnsetType = UNSET  #: why it was refused, in claude's words


class WindowRow(Struct, frozen=True, kw_only=True):
    """How much of an account's window is used."""

    name: str  #: five_hour, seven_day
    percent: int  #: of it that is used
    resets_at: str  #: RFC 3339


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
    context_tokens: int | UnsetType = UNSET  #: of the conversation, as claude counted last
    limited_until: str | UnsetType = UNSET  #: a usage limit holds it until then; RFC 3339, never past
    limit: str | UnsetType = UNSET  #: what holds it, in words
    limit_asks: bool | UnsetType = UNSET  #: that is over, and it waits for the operator's word
    overloaded_until: str | UnsetType = UNSET  #: the model did not answer it; it tries again then
    windows: list[WindowRow] | UnsetType = UNSET  #: how much of its account is used, as its claude heard last
    login: Login | UnsetType = UNSET  #: the latest login in its container
    auth: AuthStatus | UnsetType = UNSET  #: how its claude gets in, as its harness says
    cost_today_usd: float | UnsetType = UNSET  #: of the turns that ended since midnight, UTC
    over_budget: str | UnsetType = UNSET  #: why nothing more may be spent for it now
    disk_bytes: int | UnsetType = UNSET  #: what is its own of the hive's disk, as it was counted last
    no_room: str | UnsetType = UNSET  #: why the hive keeps its container down for the disk's sake
    stuck: str | UnsetType = UNSET  #: silent, looping, parked, deaf, unreachable
    stuck_note: str | UnsetType = UNSET  #: how, and what the hive has done about it, in words
    backend: str | UnsetType = UNSET  #: how its containers are made


class MetaInput(Struct, frozen=True, kw_only=True):
    """An input of the flake of all agents' systems."""

    name: str  #: as `request_update_meta_inputs` takes it, such as agent-scout/nixpkgs
    url: str
    revision: str  #: 12 digits of its commit, or of its content's hash
    last_modified: str | UnsetType = UNSET  #: RFC 3339
    agents: list[str]  #: whose systems are made from it


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
    # ours
    requester: str | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET  #: what is risky about it
    tag: str | UnsetType = UNSET  #: the latest of its tags, such as deployed/7


class Job(Struct, frozen=True, kw_only=True):
    """One piece of container work. Times are RFC 3339 in UTC."""

    id: int
    agent: str  #: empty: all of them
    kind: str
    state: str  #: queued, running, done, failed, cancelled
    source: str  #: approval, operator, manager, startup, update
    created_at: str
    requester: str = ""
    reason: str = ""
    approval: int | UnsetType = UNSET
    parent: int | UnsetType = UNSET  #: the job that queued it
    started_at: str | UnsetType = UNSET
    ended_at: str | UnsetType = UNSET
    attempt: int = 1  #: over 1: the hive ended while it ran
    progress: str = ""  #: what it is at, in words
    error: str | UnsetType = UNSET


class ImageDifference(Struct, frozen=True, kw_only=True):
    """A file that is not what it was when the image was made."""

    path: str
    what: str  #: missing, added, changed


class Image(Struct, frozen=True, kw_only=True):
    """A part of what nspawn containers are made from."""

    id: str
    kind: str  #: base, harness, layer
    digest: str
    size: int  #: bytes on disk
    made_at: str
    took_seconds: float
    current: bool = False  #: new generations lie on it
    in_use: bool = False  #: an agent's generation needs it
    base: str = ""  #: what a layer lies on
    apt: list[str] = []  #: what a layer was asked for
    packages: dict[str, str] = {}  #: what was installed, with versions
    suite: str = ""
    python: str = ""
    differences: list[ImageDifference] | UnsetType = UNSET  #: of one that was compared: the first fifty


class DiffFile(Struct, frozen=True, kw_only=True):
    """A changed file, or a part of one: the parts of a long diff follow each other under the same path."""

    path: str
    change: str  #: added, modified, deleted
    added: int = 0  #: lines, of the whole file
    removed: int = 0
    binary: bool = False  #: it is not text; there are no lines
    lines: list[str] = []  #: unified diff, without the file headers


class ApprovalDiff(Struct, frozen=True, kw_only=True):
    """A part of the difference between an approval's commit and a base; all parts together are all of it."""

    id: int
    agent: str
    kind: str
    sha: str = ""
    base: str = ""
    base_sha: str = ""  #: empty: there is nothing to compare with
    files: list[DiffFile] = []
    warnings: list[str] = []
    requester: str = ""
    description: str = ""
    status: str = ""
    inputs: list[str] = []  #: of update_meta_inputs: which are meant; none: all


class Deployment(Struct, frozen=True, kw_only=True):
    id: int  #: of its approval; 0: the first
    agent: str
    sha: str
    tag: str
    deployed_at: str
    current: bool = False
    description: str = ""


class Setting(Struct, frozen=True, kw_only=True):
    """One value that is in effect."""

    key: str  #: with dots, as in the reference of agent.toml
    value: str  #: as TOML
    source: str  #: default, agent.toml, choice (of a model), hive
    line: int | UnsetType = UNSET  #: of agent.toml


class AgentConfig(Struct, frozen=True, kw_only=True):
    name: str
    sha: str  #: the deployed commit
    tag: str
    text: str  #: the deployed agent.toml
    settings: list[Setting]
    document: AgentDocument  #: agent.json


class Question(Struct, frozen=True, kw_only=True):
    """Times are RFC 3339 in UTC."""

    id: int
    asker: str
    target: str  #: `operator` or an agent
    question: str
    options: list[str] = []
    multi: bool = False
    asked_at: str
    deadline_at: str | UnsetType = UNSET
    answered_at: str | UnsetType = UNSET
    answer: str | UnsetType = UNSET
    answerer: str | UnsetType = UNSET


class Reminder(Struct, frozen=True, kw_only=True):
    id: int
    agent: str
    message: str
    due_at: str
    created_at: str


class ScheduleRow(Struct, frozen=True, kw_only=True):
    """A schedule in effect. Times are RFC 3339 in UTC."""

    agent: str
    name: str
    message: str
    every: int | UnsetType = UNSET  #: seconds
    cron: str | UnsetType = UNSET
    timezone: str = "UTC"  #: of `cron`
    paused: bool = False
    next_at: str | UnsetType = UNSET  #: when it comes; absent: never, or not while it is paused
    last_at: str | UnsetType = UNSET  #: when its latest message was sent
    waits: bool = False  #: its latest message is still unread: until it is read no other is sent
    passed: int = 0  #: times since the latest message that gave none


class WebSession(Struct, frozen=True, kw_only=True):
    """A browser that is logged in. Times are RFC 3339 in UTC; `address` and `browser` are what it said of itself."""

    id: int
    address: str
    browser: str
    created_at: str
    seen_at: str  #: to the minute


class ApiToken(Struct, frozen=True, kw_only=True):
    """A token of the API, without the token. Times are RFC 3339 in UTC."""

    id: int
    name: str
    scope: str  #: read, operate
    created_at: str
    expires_at: str | UnsetType = UNSET
    used_at: str | UnsetType = UNSET  #: to the minute


class HiveCredential(Struct, frozen=True, kw_only=True):
    """The hive's own credential for claude, without any of its values."""

    kind: str  #: api key, token, environment
    variables: list[str]  #: the names of what claude gets
    fingerprint: str  #: the same for the same credential in this hive
    set_at: str
    agents: list[str] = []  #: whose config asks for it
    account: str = ""  #: of the daemon's settings; empty: the one of `set_credential`


class NotifyTarget(Struct, frozen=True, kw_only=True):
    """Where the operator is told. Numbers and times are since the daemon began; times are RFC 3339 in UTC."""

    name: str
    url: str  #: its scheme, and its host where that is no secret
    kinds: list[str]
    waiting: int = 0  #: things that it is still to be told
    sent: int = 0  #: messages that it took
    given_up: int = 0  #: things that it was never told, after several tries
    sent_at: str | UnsetType = UNSET
    error: str | UnsetType = UNSET  #: why the latest try failed, if it did
    error_at: str | UnsetType = UNSET


class NotifyTest(Struct, frozen=True, kw_only=True):
    name: str
    ok: bool
    error: str = ""


class BudgetPeriod(Struct, frozen=True, kw_only=True):
    """A day or a month of the hive's time zone."""

    period: str  #: as 2026-11-22, or 2026-11
    spent_usd: float
    spent_tokens: int
    usd: float | UnsetType = UNSET  #: what may be spent, with what was added; absent: it is not bounded
    tokens: int | UnsetType = UNSET


class BudgetRow(Struct, frozen=True, kw_only=True):
    agent: str  #: empty: the whole hive
    day: BudgetPeriod
    month: BudgetPeriod
    over: str = ""  #: why nothing more may be spent now


class TurnShare(Struct, frozen=True, kw_only=True):
    """Turns that have something in common."""

    name: str
    turns: int
    cost_usd: float


class TurnPart(Struct, frozen=True, kw_only=True):
    """The turns that ended in a part of the time."""

    since: str  #: when it begins, RFC 3339
    turns: int
    not_ok: int  #: of them, how many did not end well
    cost_usd: float
    tokens: int = 0  #: of every sort, the cache's included
    tool_calls: int = 0
    mean_s: float = 0.0  #: how long they took on average


class TurnStats(Struct, frozen=True, kw_only=True):
    """The turns that ended in a time. Of outcomes, causes, models and agents the most; times are RFC 3339 in UTC."""

    agent: str  #: empty: all
    since: str
    until: str
    turns: int
    cost_usd: float
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    tool_calls: int
    p50_s: float  #: half of the turns took no longer
    p95_s: float
    outcomes: list[TurnShare]
    causes: list[TurnShare]  #: who sent what began the turn
    models: list[TurnShare]
    agents: list[TurnShare]
    parts: list[TurnPart]  #: all of the same length, oldest first


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
    meta_inputs: list[MetaInput] | UnsetType = UNSET
    queued_dags: list[int] | UnsetType = UNSET  #: ids of the jobs that carried it out, or will
    jobs: list[Job] | UnsetType = UNSET
    diff: ApprovalDiff | UnsetType = UNSET
    deployments: list[Deployment] | UnsetType = UNSET
    config: AgentConfig | UnsetType = UNSET
    questions: list[Question] | UnsetType = UNSET
    reminders: list[Reminder] | UnsetType = UNSET
    schedules: list[ScheduleRow] | UnsetType = UNSET
    login_link: str | UnsetType = UNSET  #: whoever opens it first is the operator
    web_sessions: list[WebSession] | UnsetType = UNSET
    login: Login | UnsetType = UNSET
    token: str | UnsetType = UNSET  #: whoever has it can use the API
    tokens: list[ApiToken] | UnsetType = UNSET
    notify_targets: list[NotifyTarget] | UnsetType = UNSET
    notify_tests: list[NotifyTest] | UnsetType = UNSET
    stats: TurnStats | UnsetType = UNSET
    budgets: list[BudgetRow] | UnsetType = UNSET
    credential: HiveCredential | UnsetType = UNSET
    accounts: list[HiveCredential] | UnsetType = UNSET
    reserve: int | UnsetType = UNSET  #: percent of every window that is the operator's
    images: list[Image] | UnsetType = UNSET


REQUESTS: Final[tuple[type[Any], ...]] = AnyRequest.__args__
