"""What scripted agents say: frozen values, written in Python or read from a TOML or JSON file.

The steps of a turn are played in order. A call ends a *round*: the next step is played in the next request, when
claude comes back with the results. Where a fault stands decides what breaks: before any text it is the answer's
status, after some text it breaks the stream. A fault happens to the first `times` requests that reach it, then it is
passed over.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

ANYONE: Final = "*"
"""The name whose turns are for every agent, after the agent's own."""

Seconds = Annotated[float, Meta(ge=0, le=600)]
Milliseconds = Annotated[int, Meta(ge=0, le=10_000)]
Times = Annotated[int, Meta(ge=1, le=1_000_000)]
Tokens = Annotated[int, Meta(ge=0, le=100_000_000)]
Part = Annotated[float, Meta(ge=0, le=1)]
Pattern = Annotated[str, Meta(max_length=4096)]

ALWAYS: Final = 1_000_000
"""As `times` of a fault: it does not go away, which is how an API's error is unless said otherwise."""


class Step(Struct, frozen=True, tag_field="do", tag=str.lower, forbid_unknown_fields=True):
    """One thing the model does. Texts and inputs may hold `{{field}}`; see `template`."""


class Say(Step, frozen=True):
    text: str
    pace_ms: Milliseconds | None = None  #: between two pieces of the text; the script's own when not said


class Think(Step, frozen=True):
    text: str
    pace_ms: Milliseconds | None = None


class Call(Step, frozen=True):
    """A tool call; ends the round."""

    tool: Annotated[str, Meta(min_length=1, max_length=128)]
    input: dict[str, Any] = {}


class Together(Step, frozen=True):
    """Several tool calls side by side; ends the round."""

    calls: Annotated[list[Call], Meta(min_length=1, max_length=32)]


class Usage(Step, frozen=True):
    """The numbers this round reports, in place of an estimate from the sizes."""

    input: Tokens = 0
    output: Tokens = 0
    cache_read: Tokens = 0
    cache_creation: Tokens = 0


class Windows(Step, frozen=True):
    """How much of a subscription's windows is used, from 0 to 1, as the headers of this round say."""

    five_hour: Part = 0.0
    seven_day: Part = 0.0
    resets_in_s: Annotated[int, Meta(ge=0, le=30 * 86400)] = 3600


class Stop(Step, frozen=True):
    """Why this round ends, in place of `tool_use` or `end_turn`."""

    reason: Literal["end_turn", "max_tokens", "stop_sequence", "refusal", "pause_turn"]


class Gate(Step, frozen=True):
    """Wait until somebody opens the gate of this name; pings go out meanwhile."""

    name: str


class Fail(Step, frozen=True):
    """A fault: an error of the API. Headers beyond the named ones go into `headers`."""

    status: Annotated[int, Meta(ge=400, le=599)]
    message: str = ""
    type: str = ""
    retry_after_s: Seconds | None = None
    may_retry: bool | None = None
    limit_resets_in_s: Annotated[int, Meta(ge=0, le=30 * 86400)] | None = None  #: a used-up subscription's window
    headers: dict[str, str] = {}
    streamed: bool = False  #: as an event of a stream that began well, also before any text
    times: Times = ALWAYS


class Stall(Step, frozen=True):
    """A fault: say nothing more and keep the connection, until claude gives up."""

    times: Times = 1


class Cut(Step, frozen=True):
    """A fault: close the connection in the middle of the answer."""

    times: Times = 1


class Reset(Step, frozen=True):
    """A fault: reset the connection (on a unix socket: close it without reading the rest)."""

    times: Times = 1


class Garble(Step, frozen=True):
    """A fault: answer with what is not the protocol.

    `page` is HTML in place of an answer, `event` one that is cut off in its JSON, `nothing` the end in good order of
    an answer that says no more. Unless said, a page before any text and an event after some.
    """

    how: Literal["", "page", "event", "nothing"] = ""
    times: Times = 1


AnyFault = Fail | Stall | Cut | Reset | Garble
AnyStep = Say | Think | Call | Together | Usage | Windows | Stop | Gate | AnyFault


class Turn(Struct, frozen=True, forbid_unknown_fields=True):
    """What to do about a prompt. `when` is a regular expression searched in it; its groups become fields.

    With a `sender` the prompt must also show a message from them. Lines begin and end for `^` and `$`.
    """

    when: Pattern = ""
    steps: tuple[AnyStep, ...] = ()
    sender: str = ""
    compacting: bool = False  #: played when claude asks for a summary of the conversation, and only then


class Agent(Struct, frozen=True, forbid_unknown_fields=True):
    """A scripted agent. The first of its turns that is meant for the prompt is played."""

    name: str
    turns: tuple[Turn, ...] = ()
    description: str = ""


class Opening(Struct, frozen=True, forbid_unknown_fields=True):
    """The operator's message that sets the scenario off."""

    to: str
    body: str


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Agents, and how a scenario begins and ends: with the first message from `ending` to the operator."""

    agents: tuple[Agent, ...] = ()
    title: str = ""
    pace_ms: Milliseconds = 0
    opening: Opening | None = None
    ending: str = ""

    def turns_of(self, agent: str) -> tuple[Turn, ...]:
        """The agent's own turns, then those for everyone."""
        own = [agent_.turns for agent_ in self.agents if agent_.name == agent and agent != ANYONE]
        everyones = [agent_.turns for agent_ in self.agents if agent_.name == ANYONE]
        return tuple(turn for turns in own + everyones for turn in turns)


def on(when: str, *steps: AnyStep, sender: str = "", compacting: bool = False) -> Turn:
    """A turn, as it reads best in Python: `on("hello", Call("Bash", {"command": "date"}), Say("Done."))`."""
    return Turn(when, steps, sender, compacting)


def rounds(steps: Iterable[AnyStep]) -> list[tuple[AnyStep, ...]]:
    """The steps cut after each call (or calls together)."""
    cut: list[tuple[AnyStep, ...]] = []
    current: list[AnyStep] = []
    for step in steps:
        current.append(step)
        if isinstance(step, Call | Together):
            cut.append(tuple(current))
            current = []
    return [*cut, tuple(current)] if current else cut
