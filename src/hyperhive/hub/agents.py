"""One agent as the hive knows it: what is recorded of it and what it is doing now."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from hyperhive.broker.roster import AgentRow, Wanted
from hyperhive.hub.watchdog import Episode
from hyperhive.protocol.agent import UNDER_WAY, Auth, Login, Window
from hyperhive.protocol.events import Rest, TurnState
from hyperhive.protocol.ids import MANAGER, AgentName
from hyperhive.protocol.rpc import Peer
from hyperhive.protocol.settings import TOOL_GROUPS, AgentSettings


class Phase(StrEnum):
    """Where the agent's container is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKING_OFF = "backing_off"  #: died; will be started again
    FAILED = "failed"  #: given up; `start` tries again


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """Settings and the commit that they are from."""

    sha: str = ""
    settings: AgentSettings = field(default_factory=AgentSettings)
    problem: str = ""  #: why it could not be read; no container is made from it


@dataclass(kw_only=True)
class Agent:
    """What changes while the hive runs. The roster's row is the part that survives it."""

    row: AgentRow
    config: Deployed = field(default_factory=Deployed)
    phase: Phase = Phase.STOPPED
    furnished: bool = False  #: its directory under the hive's runtime directory is there
    failure: str = ""
    peer: Peer | None = None  #: the runner's connection, once it has said hello
    greeting: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a runner of this container's life has said hello: it may be at work."""
    epoch: int = 0
    rest: str = Rest.DOZING
    turn_state: str = TurnState.IDLE
    model: str = ""
    context_tokens: int = 0
    claimed_until: float = 0.0  #: what its harness says of a usage limit, Unix seconds; 0: none
    overloaded_until: float = 0.0  #: the model did not answer it; it tries again then, Unix seconds
    windows: tuple[Window, ...] = ()  #: of its account, as its claude has heard
    asks: bool = False  #: its limit is over, and it waits for the operator's word
    excused_until: float = 0.0  #: until then the operator lets it have the rest of a window
    auth: Auth | None = None  #: what its harness says of its login
    over_budget: str = ""  #: why nothing more may be spent for it now; empty: it may
    disk_bytes: int | None = None  #: what is its own of the hive's disk, as it was counted last
    no_room: str = ""  #: why the hive keeps its container down for the disk's sake; empty: it does not
    episode: Episode | None = None  #: of its being stuck
    attached: bool = False  #: the operator has its conversation to themselves
    login: Login | None = None  #: the latest login in its container
    turn_cause: str = ""  #: who sent what the latest turn is about
    status_text: str = ""
    status_set_at: float = 0.0

    @property
    def name(self) -> AgentName:
        return AgentName(self.row.name)

    @property
    def settings(self) -> AgentSettings:
        return self.config.settings

    @property
    def parent(self) -> str:
        """The agent that steers it: the manager, unless its config names another; nobody steers the manager."""
        return "" if self.name == MANAGER else self.row.parent or MANAGER

    @property
    def tool_groups(self) -> tuple[str, ...]:
        """Groups of the manager's tools that its config gives it."""
        return TOOL_GROUPS if self.settings.role == "manager" else tuple(self.settings.tool_groups)

    @property
    def wanted(self) -> str:
        """What the operator wants of it: up, paused or down."""
        return "paused" if self.row.paused and self.row.wanted is Wanted.UP else self.row.wanted

    @property
    def should_run(self) -> bool:
        """Whether its container is to be up now; a paused agent's is."""
        return self.row.wanted is Wanted.UP and not self.row.asleep and not self.no_room

    @property
    def needs_login(self) -> bool:
        return self.row.needs_login

    @property
    def held(self) -> bool:
        """Whether it is given no mail."""
        stopped = self.row.paused or self.attached or bool(self.no_room)
        return stopped or bool(self.over_budget) or bool(self.row.limited_until)

    @property
    def limited_until(self) -> float:
        """A usage limit holds it until then, Unix seconds; 0: none does."""
        return self.row.limited_until

    def is_overloaded(self, now: float) -> bool:
        """Whether it waits until it tries the model again; that time past, it is at it, whatever it has said."""
        return self.overloaded_until > now

    def is_free(self, now: float) -> bool:
        """Whether nothing stands against its taking mail at once; a pause that it has announced ends by itself."""
        barred = self.needs_login or self.limited_until or self.is_overloaded(now)
        return not (self.held or self.logs_in or barred)

    @property
    def logs_in(self) -> bool:
        """Whether a login of claude's is under way in its container."""
        return self.login is not None and self.login.state in UNDER_WAY

    @property
    def running(self) -> bool:
        return self.phase in (Phase.RUNNING, Phase.STOPPING)

    def recall_status(self) -> None:
        """What the harness said of itself to an earlier daemon holds while its container runs on."""
        self.status_text, self.status_set_at = self.row.status_text, self.row.status_set_at or 0.0

    def forget_container(self) -> None:
        """Nothing that the harness reported holds once its container is gone."""
        self.peer = None
        self.greeting.clear()
        self.rest, self.turn_state = Rest.DOZING, TurnState.IDLE
        self.status_text, self.status_set_at = "", 0.0
        self.claimed_until, self.overloaded_until, self.login = 0.0, 0.0, None
