"""When an agent is stuck, and what is done about it next. Pure: what the hive has seen of it, and what time it is.

An agent may lie about all that it says. So nothing here rests on what it says alone: a turn that it claims has to show
events, mail that waits for it has to be taken, and whoever lives beats.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from hyperhive.protocol.agent import LEASE_S, MAX_WAIT_S
from hyperhive.protocol.settings import StuckSettings

NEVER: Final = float("inf")
UNREACHABLE_S: Final = LEASE_S + 60.0
"""Without a word of the harness, not even a heartbeat."""
PROMPT_S: Final = 60.0
"""That claude waits for somebody who can answer: nobody can."""
DEAF_S: Final = MAX_WAIT_S + 120.0
"""That mail waits and is not taken: a harness which takes mail asks for it again at least every three minutes."""
GREETED_S: Final = 60.0
"""What a harness that has just come may take until it asks for mail."""
STEP_S: Final = 60.0
"""Until it is seen whether a step has helped."""
CALM_S: Final = 3600.0
"""Between two times that one agent's container is restarted for it, and that it is told of."""


class Stuck(StrEnum):
    """How an agent is stuck; where more than one is true, the first."""

    UNREACHABLE = "unreachable"  #: its container runs, and nothing comes from its harness
    PARKED = "parked"  #: claude waits for somebody to answer a prompt
    SILENT = "silent"  #: it is at a turn, and nothing comes from it
    LOOPING = "looping"  #: the same tool call over and over
    DEAF = "deaf"  #: its harness lives and does not take the mail that waits


class Step(StrEnum):
    """What is done about it, the gentlest first."""

    NUDGE = "nudge"  #: claude is told at the next tool boundary
    INTERRUPT = "interrupt"  #: the turn ends, its messages go back as a failed attempt
    RESTART_CLAUDE = "restart_claude"  #: the same, by ending claude; the conversation goes on
    RECONNECT = "reconnect"  #: the harness's connection is ended: it comes back with a new one
    RESTART_CONTAINER = "restart_container"


LADDERS: Final[dict[Stuck, tuple[Step, ...]]] = {
    Stuck.UNREACHABLE: (Step.RESTART_CONTAINER,),
    Stuck.PARKED: (Step.INTERRUPT, Step.RESTART_CLAUDE, Step.RESTART_CONTAINER),
    Stuck.SILENT: (Step.INTERRUPT, Step.RESTART_CLAUDE, Step.RESTART_CONTAINER),
    Stuck.LOOPING: (Step.NUDGE, Step.INTERRUPT, Step.RESTART_CLAUDE, Step.RESTART_CONTAINER),
    Stuck.DEAF: (Step.RECONNECT, Step.RESTART_CONTAINER),
}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """From when on it is stuck."""

    silent_s: float
    tool_s: float
    repeats: float
    canary_s: float

    @classmethod
    def of(cls, settings: StuckSettings) -> "Bounds":
        return cls(
            silent_s=settings.silent_after or NEVER,
            tool_s=max(settings.tool_after, settings.silent_after) if settings.tool_after else NEVER,
            repeats=settings.loop_after or NEVER,
            canary_s=settings.canary_every or NEVER,
        )


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the hive has seen of one agent. Times are monotonic; None: there is no such thing now."""

    up_since: float | None = None  #: that its container runs
    heard_at: float = -NEVER  #: any call of its harness
    greeted_at: float = -NEVER  #: the last hello
    quiet_since: float | None = None  #: at a turn, or with mail in hand: the last sign of claude's
    in_tool: bool = False  #: a tool call is under way
    prompt_since: float | None = None  #: claude waits for an answer
    repeats: float = 0  #: how often the latest tool call was made in a row
    waits_since: float | None = None  #: mail that nothing stands against, or a canary, is not taken
    proven_at: float | None = None  #: mail or a canary came back handled, or it greeted; None: no canary may be sent


@dataclass(frozen=True, kw_only=True)
class Episode:
    """From being stuck to the first sign that it goes on."""

    stuck: Stuck
    since: float
    acted_at: float  #: when the latest step was taken
    taken: tuple[Step, ...] = ()
    told: bool = False  #: nothing is left to be done by the hive


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What has to be remembered of an agent from one judgement to the next."""

    episode: Episode | None = None
    restarted_at: float = -NEVER
    told_at: float = -NEVER


@dataclass(frozen=True, kw_only=True)
class Verdict:
    memory: Memory
    step: Step | None = None  #: to be taken now
    tell: bool = False  #: the operator and the manager are to be told now
    probe: bool = False  #: a canary is to be sent now
    look_at: float = NEVER  #: when to judge again, if nothing is seen until then


def judge(sight: Sight, before: Memory, bounds: Bounds, now: float) -> Verdict:
    """Each step comes once in an episode, the next when the one before has not helped; then it is told, once."""
    if sight.up_since is None:
        return Verdict(memory=before)
    dues = {stuck: _due(stuck, sight, bounds) for stuck in Stuck}
    later = min((due for due in dues.values() if due > now), default=NEVER)
    episode = before.episode
    if episode is not None and _is_over(episode, sight, dues[episode.stuck]):
        episode = None
    found = next((stuck for stuck in Stuck if dues[stuck] <= now), None)
    if found is not None:
        begun = episode or Episode(stuck=found, since=now, acted_at=-NEVER)
        return _go_on(sight, replace(before, episode=replace(begun, stuck=found)), bounds, now, later)
    memory = replace(before, episode=episode)
    if episode is not None or sight.proven_at is None:
        return Verdict(memory=memory, look_at=later)
    probe_at = sight.proven_at + bounds.canary_s
    return Verdict(memory=memory, probe=probe_at <= now, look_at=later if probe_at <= now else min(later, probe_at))


def _go_on(sight: Sight, memory: Memory, bounds: Bounds, now: float, later: float) -> Verdict:
    episode = memory.episode
    assert episode is not None
    ready_at = episode.acted_at + STEP_S
    if episode.told or ready_at > now:
        return Verdict(memory=memory, look_at=later if episode.told else min(later, ready_at))
    if episode.stuck is Stuck.LOOPING and sight.repeats < bounds.repeats * (1 + len(episode.taken)):
        return Verdict(memory=memory, look_at=later)  # each step has as many calls to be heeded
    step = _next_step(episode, now - memory.restarted_at >= CALM_S)
    if step is None:
        tell = now - memory.told_at >= CALM_S
        told = replace(memory, episode=replace(episode, told=True), told_at=now if tell else memory.told_at)
        return Verdict(memory=told, tell=tell, look_at=later)
    taken = replace(episode, acted_at=now, taken=(*episode.taken, step))
    restarted_at = now if step is Step.RESTART_CONTAINER else memory.restarted_at
    after = replace(memory, episode=taken, restarted_at=restarted_at)
    return Verdict(memory=after, step=step, look_at=min(later, now + STEP_S))


def _next_step(episode: Episode, may_restart: bool) -> Step | None:
    for step in LADDERS[episode.stuck]:
        if step not in episode.taken and (may_restart or step is not Step.RESTART_CONTAINER):
            return step
    return None


def _due(stuck: Stuck, sight: Sight, bounds: Bounds) -> float:
    """When it is true, if nothing is seen until then."""
    assert sight.up_since is not None
    match stuck:
        case Stuck.UNREACHABLE:
            return max(sight.up_since, sight.heard_at) + UNREACHABLE_S
        case Stuck.PARKED:
            return NEVER if sight.prompt_since is None else sight.prompt_since + PROMPT_S
        case Stuck.SILENT:
            bound = bounds.tool_s if sight.in_tool else bounds.silent_s
            return NEVER if sight.quiet_since is None else sight.quiet_since + bound
        case Stuck.LOOPING:
            return -NEVER if sight.quiet_since is not None and sight.repeats >= bounds.repeats else NEVER
        case Stuck.DEAF:
            if sight.waits_since is None:
                return NEVER
            return max(sight.waits_since + DEAF_S, sight.greeted_at + GREETED_S)


def _is_over(episode: Episode, sight: Sight, due: float) -> bool:
    """Whether it was seen to go on: that it is not known to be stuck any more is not enough."""
    if episode.stuck is Stuck.UNREACHABLE:
        return sight.heard_at >= episode.acted_at
    if episode.stuck is Stuck.SILENT:
        return sight.quiet_since is None or sight.quiet_since >= episode.acted_at
    return due == NEVER


_SAYS: Final = {
    Stuck.UNREACHABLE: "its container runs, and nothing comes from its harness",
    Stuck.PARKED: "claude waits for an answer that nobody can give",
    Stuck.SILENT: "it is at a turn, and nothing comes from it",
    Stuck.LOOPING: "it makes the same tool call over and over",
    Stuck.DEAF: "its harness lives, and does not take its mail",
}
_DONE: Final = {
    Step.NUDGE: "it was told so",
    Step.INTERRUPT: "its turn was interrupted",
    Step.RESTART_CLAUDE: "claude was restarted",
    Step.RECONNECT: "its connection was ended",
    Step.RESTART_CONTAINER: "its container was restarted",
}
_VERB: Final = {
    Stuck.PARKED: "cancel",
    Stuck.SILENT: "cancel",
    Stuck.LOOPING: "cancel",
    Stuck.DEAF: "restart",
    Stuck.UNREACHABLE: "restart",
}


def words(episode: Episode) -> str:
    """How it is stuck and what was done about it, for the operator and the manager."""
    done = ", ".join(_DONE[step] for step in episode.taken)
    said = f"{_SAYS[episode.stuck]}; {done}" if done else _SAYS[episode.stuck]
    return f"{said}, which did not help" if episode.told and done else said


def reason(stuck: Stuck) -> str:
    """The same for the harness and for claude."""
    return _SAYS[stuck]


def verb(stuck: Stuck) -> str:
    """What the operator does about it: `cancel` (the turn) or `restart`."""
    return _VERB[stuck]
