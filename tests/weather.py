"""Bad weather: what can happen to an agent, what the operator sees of it, and what recovers it.

`docs/weather.md` is this table for people, `acceptance/test_weather.py` plays it.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import AnyStep, Call, Cut, Fail, Garble, Gate, Reset, Say, Stall
from hyperhive.testing.hive_process import HiveProcess, eventually
from hyperhive.testing.model import ScriptedModel
from notify_receiver import Receiver

ITSELF: Final = "by itself"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A message comes for the agent, and meanwhile this happens. In the end the message is handled, always."""

    what: str  #: in the words of the page
    steps: tuple[AnyStep, ...]  #: the model's, at the first attempt
    outcomes: tuple[str, ...] = ("ok",)  #: of the turns that the message took
    state: str = ""  #: the agent's in `hive list`, until it is recovered
    told: str = ""  #: the kind of notification
    event: str = ""  #: of the hive's own, about it
    attempt: int = 1  #: the one that handled it
    recovers: str = ITSELF
    recover: Callable[["Scene"], object] | None = None
    strike: Callable[["Scene"], object] | None = None  #: what hits it once the model waits or a command hangs
    requests: int = 2  #: that the model got at least, or it has not happened

    @property
    def shows(self) -> set[str]:
        return {outcome for outcome in self.outcomes if outcome != "ok"} | ({self.state, self.told, self.event} - {""})


@dataclass(frozen=True)
class Elsewhere:
    """A row that a test of its own plays."""

    what: str
    shows: set[str]
    attempt: int
    recovers: str
    file: str  #: below this directory
    test: str


@dataclass(kw_only=True)
class Scene:
    """One agent, `a`, of a hive with its state on a disk that can be filled."""

    hive: HiveProcess
    model: ScriptedModel
    notified: Receiver

    def processes(self, word: str = "", namespace: str = "") -> list[int]:
        """In the agent's container, by a word of their command lines; as the host sees them."""
        namespace, found = namespace or self.namespace(), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str((process / "ns/pid").readlink()) == namespace and word in command:
                    found.append(int(process.name))
        return found

    def namespace(self) -> str:
        """Of the container's processes, as long as it lives."""
        record = json.loads((self.hive.paths.containers / "h-a" / "record.json").read_bytes())
        return str(Path(f"/proc/{record['init']['pid']}/ns/pid").readlink())

    def kill(self, word: str) -> None:
        """The processes with the word, while a command of claude's hangs; then nothing of that turn is left."""
        eventually(lambda: bool(self.processes(HANGING)))
        namespace = self.namespace()
        left = "" if word == HARNESS else HANGING
        for pid in self.processes(word):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.processes(left, namespace))

    def log(self) -> str:
        return "\n".join(self.hive.ask(host.Logs(name="a")).messages or [])


HANGING: Final = "tail -f /dev/null"
HARNESS: Final = "hyperhive.harness.runner"


def resume(scene: Scene) -> None:
    scene.hive.ask(host.SetPaused(name="a", paused=False))


def restart_the_daemon(scene: Scene) -> None:
    scene.model.gate("daemon").wait_reached()
    scene.hive.kill()
    scene.model.gate("daemon").open()
    scene.hive.start()


def fill_the_disk(scene: Scene) -> None:
    """Until the turn is over: not settled, or in what room the database still had of before."""
    scene.model.gate("disk").wait_reached()
    ballast = scene.hive.paths.state_dir / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    assert last_answer(scene) is FaultKind.STORAGE
    scene.model.gate("disk").open()
    eventually(lambda: "trying again" in scene.log() or scene.hive.status("a").turn_state == "idle")
    ballast.unlink()


def last_answer(scene: Scene) -> FaultKind | None:
    """To mail for an agent that does not take it: what the database has had of the disk already it can still fill."""
    for _ in range(200):
        try:
            scene.hive.send("stopped", "there is no room for this " * 2000)
        except FaultError as fault:
            return fault.kind
    return None


def twice(what: str, *steps: AnyStep) -> Row:
    """What claude's own retry does not outlast fails the turn; the next attempt does."""
    return Row(what=what, steps=steps, outcomes=("failed", "ok"), attempt=2)


def parks(state: str, what: str, *steps: AnyStep, told: str = "") -> Row:
    """No attempt counts; the agent waits in the state until its time or the operator comes."""
    return Row(what=what, steps=steps, outcomes=(state, "ok"), state=state, told=told, recover=resume,
               recovers="`hive resume NAME`")  # fmt: skip


TEXT: Final = Say("This is the beginning of an answer that")
WORK: Final = Call("Bash", {"command": "true"})

TOO_LONG: Final = Fail(400, "prompt is too long: 1200000 tokens > 1000000 maximum", times=1)
HANG: Final = Call("Bash", {"command": HANGING})
EAT: Final = Call("Bash", {"command": "python3 -c 'b\"x\" * (3 << 30)'"})

PASSING: Final = (
    Row(what="the API is overloaded for a moment (529)", steps=(Fail(529, times=1),)),
    Row(what="the API has an error for a moment (500)", steps=(Fail(500, times=1),)),
    Row(what="the API asks for a moment's patience (429 with a short `retry-after`)",
        steps=(Fail(429, retry_after_s=1, times=1),)),
    Row(what="the API takes the request and says nothing", steps=(Stall(),)),
    Row(what="the API stops in the middle of an answer", steps=(TEXT, Stall())),
    Row(what="the connection breaks before an answer", steps=(Reset(),)),
    Row(what="the connection breaks in the middle of an answer", steps=(TEXT, Cut())),
    Row(what="the answer is a page of HTML", steps=(Garble(how="page"),)),
    Row(what="the answer is empty", steps=(Garble(how="nothing"),)),
    Row(what="the answer ends before its end", steps=(TEXT, Garble(how="nothing"))),
    Row(what="the answer's first event cannot be read", steps=(Garble(how="event"),)),
    Row(what="an event in the middle of the answer cannot be read", steps=(TEXT, Garble(how="event"))),
    Row(what="the answer begins with an error", steps=(Fail(529, streamed=True, times=1),)),
    Row(what="there is an error in the middle of the answer", steps=(TEXT, Fail(529, times=1))),
    Row(what="the answer comes in drops", steps=(Say("Drop by drop it comes, " * 2, pace_ms=500),),
        requests=1),
)  # fmt: skip

FAILING: Final = (
    twice("the API refuses the request (400)", Fail(400, message="no such thing", times=9)),
    twice("the API refuses the request after some work was done", WORK, Fail(400, message="no such thing", times=9)),
    twice("there is no such model (404)", Fail(404, times=9)),
)  # fmt: skip

OVERFLOWING: Final = (
    Row(what="the conversation is too long for the model (400)", steps=(TOO_LONG,), requests=3),
    Row(what="it is still too long when it was compacted", steps=(msgspec.structs.replace(TOO_LONG, times=2),),
        outcomes=("overflow", "ok"), attempt=2, requests=4),
)  # fmt: skip

PARKING: Final = (
    parks("overloaded", "the API stays overloaded (529)", Fail(529, times=2)),
    parks("overloaded", "the API stays broken (500)", Fail(500, times=2)),
    parks("overloaded", "the API cannot be reached", Reset(times=2)),
    parks("overloaded", "a rate limit that does not say until when (429)", Fail(429, may_retry=False, times=1)),
    parks("needs_login", "the login is not accepted (401)", Fail(401, may_retry=False, times=1), told="needs_login"),
    parks("needs_login", "the login may not do that (403)", Fail(403, times=1), told="needs_login"),
)  # fmt: skip

CRASHES: Final = (
    Row(what="claude is killed in the middle of a turn", steps=(HANG,), strike=lambda scene: scene.kill("stream-json"),
        outcomes=("interrupted", "ok"), attempt=2),
    Row(what="the turn worker is killed in the middle of a turn", steps=(HANG,),
        strike=lambda scene: scene.kill("hyperhive.harness.worker"), outcomes=("interrupted", "ok"), attempt=2),
    Row(what="the harness, and with it the container, is killed in the middle of a turn", steps=(HANG,),
        strike=lambda scene: scene.kill(HARNESS), event="container_crash", attempt=2),
    Row(what="the daemon is killed in the middle of a turn", steps=(TEXT, Gate("daemon")), strike=restart_the_daemon,
        requests=1),
    Row(what="a command eats all the memory of the container", steps=(EAT,)),
    Row(what="the disk is full when the turn ends", steps=(TEXT, Gate("disk")), strike=fill_the_disk, requests=1),
)  # fmt: skip

OTHERS: Final = (
    Elsewhere(
        "a usage limit is reached (429 with the time of its reset)",
        shows={"rate_limited"},
        attempt=1,
        recovers="`hive resume NAME`",
        file="integration/test_harness_limits.py",
        test="a_limit_with_a_reset_parks_until_then_or_the_operators_word_and_an_overload_for_moments",
    ),
    Elsewhere(
        "another agent has reached the limit of the hive's credential",
        shows={"rate_limited"},
        attempt=1,
        recovers="`hive resume NAME`",
        file="integration/test_limits.py",
        test="one_agents_limit_holds_all_who_use_the_hives_credential_and_they_go_on_one_after_the_other",
    ),
    Elsewhere(
        "the agent's login could not be renewed",
        shows={"needs_login", "renewal_failed"},
        attempt=1,
        recovers="`hive auth login NAME`",
        file="integration/test_harness_limits.py",
        test="a_login_whose_renewal_is_refused_is_told_from_one_whose_access_has_lapsed",
    ),
    Elsewhere(
        "any of these, or an overload, comes over a compaction or a checkpoint",
        shows=set(),
        attempt=1,
        recovers="`hive resume NAME`",
        file="integration/test_harness_limits.py",
        test="what_comes_over_a_compaction_or_a_checkpoint_parks_the_agent_and_costs_no_attempt",
    ),
    Elsewhere(
        "the budget is spent",
        shows={"budget"},
        attempt=1,
        recovers="`hive budget NAME --top-up`",
        file="acceptance/test_budget_of_a_hive.py",
        test="a_turn_that_crosses_the_budget_ends_and_its_message_waits_for_money",
    ),
    Elsewhere(
        "an agent fills the disk",
        shows={"no_room", "disk"},
        attempt=1,
        recovers="`hive resume NAME`",
        file="integration/test_disk_guard.py",
        test="an_agent_that_fills_the_disk_through_its_state_is_stopped_and_the_hive_and_the_others_go_on",
    ),
    Elsewhere(
        "an agent has more of the disk than `limits.disk_max`",
        shows={"no_room"},
        attempt=1,
        recovers="`hive resume NAME`",
        file="integration/test_disk_guard.py",
        test="who_has_more_than_it_may_is_stopped_gently_and_goes_on_with_less_or_by_the_operators_word",
    ),
    Elsewhere(
        "a turn in which nothing comes from claude any more",
        shows={"stuck", "silent"},
        attempt=2,
        recovers=ITSELF,
        file="integration/test_lookout.py",
        test="a_silent_turn_a_loop_and_a_harness_that_hangs_go_on_by_themselves",
    ),
    Elsewhere(
        "claude calls the same tool over and over",
        shows={"stuck", "looping"},
        attempt=2,
        recovers=ITSELF,
        file="integration/test_lookout.py",
        test="a_silent_turn_a_loop_and_a_harness_that_hangs_go_on_by_themselves",
    ),
    Elsewhere(
        "the harness hangs",
        shows={"stuck", "unreachable"},
        attempt=1,
        recovers=ITSELF,
        file="integration/test_lookout.py",
        test="a_silent_turn_a_loop_and_a_harness_that_hangs_go_on_by_themselves",
    ),
    Elsewhere(
        "an agent that has nothing in its way does not take its mail",
        shows={"stuck", "deaf"},
        attempt=1,
        recovers=ITSELF,
        file="integration/test_lookout.py",
        test="one_that_does_not_take_its_mail_is_deaf_and_each_step_comes_once",
    ),
    Elsewhere(
        "mail would not come through, as a canary shows",
        shows={"stuck", "deaf"},
        attempt=1,
        recovers=ITSELF,
        file="integration/test_lookout.py",
        test="a_canary_that_does_not_come_back_is_found_and_one_that_does_is_not_seen",
    ),
    Elsewhere(
        "a message has failed five times",
        shows={"dead_letter"},
        attempt=5,
        recovers="`hive dead requeue ID`",
        file="integration/test_mailbox_attempts.py",
        test="failures_back_off_and_the_fifth_is_the_last",
    ),
    Elsewhere(
        "the container has died three times with the same message",
        shows={"dead_letter"},
        attempt=3,
        recovers="`hive dead requeue ID`",
        file="integration/test_mailbox_attempts.py",
        test="three_deaths_of_the_container_on_one_message_make_it_dead",
    ),
    Elsewhere(
        "the container dies again and again",
        shows={"failed", "agent_failed"},
        attempt=2,
        recovers="`hive start NAME`",
        file="acceptance/test_crashes.py",
        test="a_container_that_dies_again_and_again_is_given_up_loudly_and_start_tries_again",
    ),
    Elsewhere(
        "the container dies while no daemon runs",
        shows={"container_crash"},
        attempt=2,
        recovers=ITSELF,
        file="acceptance/test_crashes.py",
        test="a_container_that_died_while_no_hive_ran_is_replaced",
    ),
    Elsewhere(
        "the conversation cannot be resumed",
        shows=set(),
        attempt=1,
        recovers=ITSELF,
        file="integration/test_harness_resilience.py",
        test="a_conversation_that_cannot_be_resumed_gives_way_to_a_new_one",
    ),
    Elsewhere(
        "the process of the way out is killed",
        shows=set(),
        attempt=1,
        recovers=ITSELF,
        file="acceptance/test_way_out.py",
        test="the_way_out_is_there_again_after_its_process_was_killed",
    ),
    Elsewhere(
        "the agent asks for a host that is not on its list",
        shows={"egress_refused"},
        attempt=1,
        recovers="`hive edit NAME`",
        file="acceptance/test_way_out.py",
        test="a_forbidden_host_is_refused_and_the_operator_sees_it_also_after_the_daemon_was_killed",
    ),
)

ROWS: Final = (*PASSING, *FAILING, *OVERFLOWING, *PARKING, *CRASHES)
