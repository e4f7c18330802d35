"""The daemon is killed after every step of whatever changes what an agent is, or whether it is."""

import contextlib
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

import needs
from hyperhive.client import GoneError
from hyperhive.hub.queue import MAX_ATTEMPTS
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import LifecycleScope
from killer import DIES, Killer
from shape_house import Event, House, quiet_house

pytestmark = [pytest.mark.container, pytest.mark.timeout(400)]

REACHED_WITHIN_S = 20.0
DEATHS = 3
"""Of an operation in one run, beside the one at its first step."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What the operator asks for, and what must have become of it once all is quiet again."""

    name: str
    prepare: Callable[[House, int], host.AnyRequest]  #: make it possible, for the nth time; the request
    agent: str = "a"
    told: Sequence[Event] = ()  #: to the manager, each exactly once
    kicks: int | None = None  #: how often the agent is told that its container is a new one; None: it is not the same
    lives: bool = True  #: whether there is the agent afterwards
    running: bool = True
    status: str = ""  #: of the approval that the request decides about
    kept: bool = True  #: whether its state is on the disk afterwards


# what is asked for


def there(house: House, name: str = "a") -> None:
    """An agent that is up and never works."""
    if name not in house.names():
        house.hive.ask(host.Spawn(name=name))
        house.hive.ask(host.SetPaused(name=name, paused=True))
    house.hive.ask(host.Start(scope=LifecycleScope(agent_names=[name])))
    house.hive.until(name, lambda row: row.running and bool(row.active_model))


def gone(house: House, name: str = "a") -> None:
    with contextlib.suppress(FaultError):
        house.hive.ask(host.Destroy(name=name, purge=True))


def entombed(house: House, name: str = "a") -> None:
    there(house, name)
    house.hive.ask(host.Destroy(name=name))


def edited(house: House, text: str) -> host.Approval:
    (proposal,) = house.hive.ask(host.EditConfig(name="a", text=text)).approvals or []
    return proposal


def proposed(house: House, nth: int) -> host.Approval:
    """A commit for an agent that is up, another one each time."""
    there(house)
    return edited(house, f"sleep_after = {1000 + nth}\n")


def approves(proposal: host.Approval) -> host.Approve:
    assert isinstance(proposal.fetched_sha, str)
    return host.Approve(id=proposal.id, sha=proposal.fetched_sha)


def approve_spawn(house: House, _: int) -> host.AnyRequest:
    gone(house)
    (number,) = house.hive.ask(host.RequestSpawn(name="a")).ids or []
    return host.Approve(id=number)


def approve_init_config(house: House, nth: int) -> host.AnyRequest:
    (number,) = house.hive.ask(host.RequestInitConfig(name=f"b{nth}")).ids or []
    return host.Approve(id=number)


def first_proposal(house: House, name: str, description: str = "") -> host.Approval:
    (number,) = house.hive.ask(host.RequestInitConfig(name=name, description=description)).ids or []
    house.hive.ask(host.Approve(id=number))
    (proposal,) = house.hive.ask(host.RequestApplyCommit(name=name)).approvals or []
    return proposal


def approve_first_commit(house: House, nth: int) -> host.AnyRequest:
    return approves(first_proposal(house, f"b{nth}"))


def approve_bad_first_commit(house: House, nth: int) -> host.AnyRequest:
    return approves(first_proposal(house, f"b{nth}", DIES))


def approve_commit(house: House, nth: int) -> host.AnyRequest:
    return approves(proposed(house, nth))


def approve_bad_commit(house: House, nth: int) -> host.AnyRequest:
    there(house)
    return approves(edited(house, f'sleep_after = {1000 + nth}\ndescription = "{DIES}"\n'))


def deny(house: House, nth: int) -> host.AnyRequest:
    return host.Deny(id=proposed(house, nth).id, reason="not now")


def roll_back(house: House, nth: int) -> host.AnyRequest:
    there(house)
    if len(house.deployments("a")) == 1:
        house.hive.configure("a", "sleep_after = 1000\n")
    return host.Rollback(name="a")


def destroy(house: House, nth: int) -> host.AnyRequest:
    proposed(house, nth)
    return host.Destroy(name="a")


def destroy_and_purge(house: House, nth: int) -> host.AnyRequest:
    proposed(house, nth)
    return host.Destroy(name="a", purge=True)


def start(house: House, _: int) -> host.AnyRequest:
    there(house)
    house.hive.ask(host.Kill(name="a"))
    return host.Start(scope=LifecycleScope(agent_names=["a"]))


def after(made: Callable[[House], None], request: host.AnyRequest) -> Callable[[House, int], host.AnyRequest]:
    """The same request each time, once its agent has been made so."""

    def prepare(house: House, _: int) -> host.AnyRequest:
        made(house)
        return request

    return prepare


def resolved(agent: str, status: str) -> Event:
    return ("approval_resolved", agent, status)


OPERATIONS = [
    Operation(
        name="approve a spawn", prepare=approve_spawn, status="approved",
        told=[("spawned", "a", "ok"), resolved("a", "approved")],
    ),
    Operation(
        name="approve an init_config", prepare=approve_init_config, agent="b{}", lives=False, status="approved",
        told=[("config_ready", "b{}"), resolved("b{}", "approved")],
    ),
    Operation(
        name="approve a first commit", prepare=approve_first_commit, agent="b{}", status="approved",
        told=[("spawned", "b{}", "ok"), resolved("b{}", "approved")],
    ),
    Operation(
        name="approve a first commit that fails", prepare=approve_bad_first_commit, agent="b{}", status="failed",
        lives=False, told=[("spawned", "b{}", "failed"), resolved("b{}", "failed")],
    ),
    Operation(
        name="approve a commit", prepare=approve_commit, status="approved", kicks=1,
        told=[("rebuilt", "a", "ok"), resolved("a", "approved")],
    ),
    Operation(
        name="approve a commit that fails", prepare=approve_bad_commit, status="failed", kicks=0,
        told=[("rebuilt", "a", "failed"), resolved("a", "failed")],
    ),
    Operation(name="deny", prepare=deny, status="denied", kicks=0, told=[resolved("a", "denied")]),
    Operation(
        name="roll back", prepare=roll_back, kicks=1, told=[("rebuilt", "a", "ok"), resolved("a", "approved")]
    ),
    Operation(name="destroy", prepare=destroy, lives=False, told=[("destroyed", "a"), resolved("a", "cancelled")]),
    Operation(
        name="destroy and purge", prepare=destroy_and_purge, lives=False, kept=False,
        told=[("destroyed", "a"), resolved("a", "cancelled")],
    ),
    Operation(name="purge", prepare=after(entombed, host.Purge(name="a")), lives=False, kept=False),
    Operation(name="revive", prepare=after(entombed, host.Revive(name="a")), told=[("spawned", "a", "ok")]),
    Operation(name="start", prepare=start, kicks=1),
    Operation(name="stop", prepare=after(there, host.Kill(name="a")), running=False, kicks=0, told=[("killed", "a")]),
    Operation(name="restart", prepare=after(there, host.Restart(name="a")), kicks=1),
    Operation(name="rebuild", prepare=after(there, host.Rebuild(name="a")), kicks=1, told=[("rebuilt", "a", "ok")]),
]  # fmt: skip


COMMIT = next(one for one in OPERATIONS if one.prepare is approve_commit)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name.replace(" ", "-"))
def test_a_daemon_killed_after_any_step_of_it_carries_it_out_once(operation: Operation, tmp_path: Path) -> None:
    needs.bwrap()
    killer = Killer(tmp_path)
    with quiet_house(killer.prefix) as house:
        steps = rehearsed(house, killer, operation)
        assert len(steps) >= 4
        for nth, step in enumerate(some_of(worth_dying_at(steps)), 1):
            try:
                killed_at(step, house, killer, operation, nth)
            except AssertionError as error:
                raise AssertionError(f"killed {step}: {error}") from error


def test_a_deploy_that_no_daemon_survives_fails_and_what_was_deployed_runs(tmp_path: Path) -> None:
    needs.bwrap()
    killer = Killer(tmp_path)
    with quiet_house(killer.prefix) as house:
        request = ready(house, COMMIT, 0)
        sha = house.document("a").deployed_sha
        killer.aim("before Decisions.end 1")
        with contextlib.suppress(GoneError):
            carried_out(house, request)
        dead(house, killer)
        for _ in range(MAX_ATTEMPTS - 1):
            killer.aim("before Decisions.end 1")
            house.hive.process = house.hive.launch()
            dead(house, killer)
        house.hive.start()
        house.settle()
        assert house.document("a").deployed_sha == sha
        assert house.jobs()[0].state == "failed"
        told = {("rebuilt", "a", "failed"): 1, resolved("a", "failed"): 1}
        assert without_crashes(house.news()) == told


def rehearsed(house: House, killer: Killer, operation: Operation) -> list[str]:
    """Done once with nobody dying: its steps, in their order."""
    request = ready(house, operation, 0)
    before = kicked(house, operation, 0)
    killer.watch()
    carried_out(house, request)
    house.settle()
    steps = killer.steps()
    check(house, operation, 0, request, before)
    return steps


def worth_dying_at(steps: list[str]) -> list[str]:
    """The first of all, when nothing is written down; and the end of each call, for that is how the next one begins.

    Of calls that come again and again the first and the last; none of those that leave nothing behind.
    """
    nothing = ("AgentDoors.", "Applied.store") if "after directories.purge 1" in steps else ("AgentDoors.", "trees.")
    ended = [
        step.rpartition(" ")
        for step in steps
        if step.startswith("after") and not step.removeprefix("after ").startswith(nothing)
    ]
    last = {label: number for label, _, number in ended}
    return [steps[0], *(f"{label} {number}" for label, _, number in ended if number in ("1", last[label]))]


def some_of(steps: list[str]) -> list[str]:
    """The first of all, and as many of the others as a run has time for, from day to day others of them.

    All with HYPERHIVE_TEST_DEATHS=all.
    """
    if os.environ.get("HYPERHIVE_TEST_DEATHS") == "all":
        return steps
    others = steps[1:]
    every = -(-len(others) // DEATHS)
    return [steps[0], *others[datetime.now(UTC).toordinal() % every :: every]]


def killed_at(step: str, house: House, killer: Killer, operation: Operation, nth: int) -> None:
    request = ready(house, operation, nth)
    before = kicked(house, operation, nth)
    killer.aim(step)
    with contextlib.suppress(GoneError):
        carried_out(house, request)
    dead(house, killer)
    house.hive.start()
    if step.startswith("before"):
        untouched(house, request)
        carried_out(house, request)
    elif operation.status:
        decided_already(house, request)
    house.settle()
    check(house, operation, nth, request, before)


def dead(house: House, killer: Killer) -> None:
    """The daemon has come to the step, and not beyond it."""
    assert house.hive.process is not None
    try:
        house.hive.process.wait(REACHED_WITHIN_S)
    except subprocess.TimeoutExpired:
        steps = killer.steps()
        killer.watch()
        raise AssertionError(f"it came not so far; its steps were {steps}") from None


def ready(house: House, operation: Operation, nth: int) -> host.AnyRequest:
    request = operation.prepare(house, nth)
    house.settle()
    house.news()
    return request


def carried_out(house: House, request: host.AnyRequest) -> None:
    """Well or not: what must have become of it is checked."""
    with contextlib.suppress(FaultError):
        house.hive.ask(request)


def untouched(house: House, request: host.AnyRequest) -> None:
    """The hive died before it had written anything down."""
    assert not house.news()
    assert all(job.state not in ("queued", "running") for job in house.jobs())
    if isinstance(request, host.Approve | host.Deny):
        assert house.approval(request.id).status == "pending"


def decided_already(house: House, request: host.AnyRequest) -> None:
    with pytest.raises(FaultError) as refused:
        house.hive.ask(request)
    assert refused.value.kind is FaultKind.WRONG_STATE


def check(house: House, operation: Operation, nth: int, request: host.AnyRequest, kicks_before: int) -> None:
    name = operation.agent.format(nth)
    told = Counter(tuple(word.format(nth) for word in event) for event in operation.told)
    assert without_crashes(house.news()) == told
    if isinstance(request, host.Approve | host.Deny):
        assert house.approval(request.id).status == operation.status
    assert (name in house.names()) == operation.lives
    if operation.lives:
        assert house.hive.status(name).running == operation.running
    if operation.kicks is not None:
        assert kicked(house, operation, nth) - kicks_before == operation.kicks
    if not operation.kept:
        paths = house.paths
        left = [place for place in (paths.agent(name), paths.applied(name), paths.proposed / name) if place.exists()]
        assert not left
        assert all(row.status != "pending" for row in house.approvals())


def without_crashes(told: Counter[Event]) -> Counter[Event]:
    """A container that the killed daemon had started and that died without it is told of as any death."""
    return Counter({event: count for event, count in told.items() if event[0] != "container_crash"})


def kicked(house: House, operation: Operation, nth: int) -> int:
    return house.kicks(operation.agent.format(nth)) if operation.kicks is not None else 0
