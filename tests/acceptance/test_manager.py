"""The manager, and agents that steer others: what they may do, and what the hive refuses them."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.agent import GROUP_METHODS
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive
from manager_house import approval, asks, at_rest, events_to, inside, letters, refused, spawned, told, undecided

pytestmark = [pytest.mark.container, pytest.mark.claude, pytest.mark.timeout(180)]

LEAD = 'tool_groups = ["lifecycle", "approvals"]\n'
DEPUTY = 'role = "manager"\ndescription = "leads another team"\n'


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    """A hive with its manager, `lead` who steers `kid`, a `deputy` with a manager's role, and `plain`; none works."""
    needs.bwrap()
    needs.claude()
    with running_hive(manager=True) as (hive, _):
        at_rest(hive, "manager")
        spawned(hive, "lead", LEAD)
        spawned(hive, "kid", 'parent = "lead"\n')
        spawned(hive, "deputy", DEPUTY)
        spawned(hive, "plain")
        yield hive


def first_process(hive: HiveProcess, container: str) -> int:
    """Of the container; 0 while there is none."""
    try:
        record = json.loads((hive.paths.containers / container / "record.json").read_bytes())
    except FileNotFoundError:
        return 0
    return int(record["init"]["pid"]) if record["init"] else 0


def propose(hive: HiveProcess, name: str, text: str) -> Any:
    base = hive.ask(host.Config(name=name)).config
    assert isinstance(base, host.AgentConfig)
    return hive.ask(host.EditConfig(name=name, text=text, base=base.sha))


# the manager itself


def test_there_is_one_manager_from_the_first_start_on_and_it_stays(hive: HiveProcess) -> None:
    before = first_process(hive, "hm1nd")
    row = hive.status("manager")
    assert (row.role, row.container, row.running) == ("manager", "hm1nd", True)
    hive.stop()
    hive.start()
    hive.until("manager", lambda row: bool(row.active_model))
    assert first_process(hive, "hm1nd") == before
    jobs = hive.ask(host.Jobs(name="manager", limit=500)).jobs or []
    assert [(job.kind, job.state, job.source) for job in jobs if job.kind == "spawn"] == [("spawn", "done", "startup")]
    assert sum(name == "manager" for name in hive.ask(host.List()).agents or []) == 1
    assert [stone.name for stone in hive.ask(host.Tombstones()).tombstones or []] == []


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (host.Destroy(name="manager"), FaultKind.NOT_ALLOWED),
        (host.Destroy(name="manager", purge=True), FaultKind.NOT_ALLOWED),
        (host.Purge(name="manager"), FaultKind.WRONG_STATE),
        (host.Spawn(name="manager"), FaultKind.RESERVED_NAME),
        (host.Spawn(name="hm1nd"), FaultKind.RESERVED_NAME),
    ],
)
def test_the_manager_cannot_be_ended_or_made_again(
    hive: HiveProcess, request_: host.AnyRequest, kind: FaultKind
) -> None:
    with pytest.raises(FaultError) as fault:
        hive.ask(request_)
    assert fault.value.kind is kind
    assert hive.status("manager").running


@pytest.mark.parametrize("name", ["manager", "hm1nd"])
@pytest.mark.parametrize("method", ["kill", "start", "restart", "update"])
def test_the_manager_does_nothing_to_itself(hive: HiveProcess, method: str, name: str) -> None:
    assert "yourself" in refused(asks(hive, "manager", method, name=name))


def test_the_managers_config_may_not_make_it_anything_else(hive: HiveProcess) -> None:
    with pytest.raises(FaultError) as fault:
        propose(hive, "manager", 'role = "agent"\nparent = "lead"\n')
    assert fault.value.kind is FaultKind.BAD_CONFIG
    assert "role" in fault.value.message
    assert "parent" in fault.value.message


def test_only_the_manager_sees_the_configs_and_what_is_applied_it_cannot_write(hive: HiveProcess) -> None:
    seen = inside(
        hive, "manager", "ls /agents /applied; echo x > /applied/plain/x; touch /applied/y; echo status $?\n"
    )
    assert "plain" in seen.split("/applied:")[0]
    assert "plain" in seen.split("/applied:")[1]
    assert seen.lower().count("read-only file system") == 2
    assert not (hive.paths.applied("plain") / "x").exists()
    assert "no such file" in inside(hive, "plain", "ls /agents /applied; ls -d /agents\n").lower()
    assert "agent.toml" not in inside(hive, "plain", "ls /agents/* /applied/*\n")


def test_the_manager_commits_and_fetches_in_its_own_container(hive: HiveProcess) -> None:
    hive.ask(host.Rebuild(name="manager"))  # its git is told of the agents there are
    script = """
cd /agents/plain/config && git log --format='log %s' && git fetch -q applied && git rev-parse applied/main
echo 'description = "from inside"' >> agent.toml && git commit -qam 'a change' && git log --format='by %an: %s' -1
git -C /applied/plain log --format='live %s' -1; git status --short; git diff --stat applied/main | tail -1
"""
    said = inside(hive, "manager", script)
    assert "fatal" not in said, said
    assert "log The first config of plain" in said
    assert str(hive.status("plain").deployed_sha) in said
    assert "by manager: a change" in said
    assert "live The first config of plain" in said


def test_a_new_agents_config_is_in_the_running_managers_container_at_once(hive: HiveProcess) -> None:
    before = first_process(hive, "hm1nd")
    spawned(hive, "newest")
    said = inside(hive, "manager", "cat /agents/newest/config/agent.toml && git -C /agents/newest/config status -sb\n")
    assert "## main" in said, said
    assert first_process(hive, "hm1nd") == before
    hive.ask(host.Destroy(name="newest", purge=True))
    assert "newest" not in inside(hive, "manager", "ls /agents /applied\n")


# its tools


def test_the_manager_steers_every_other_agent_and_hears_of_it_once(hive: HiveProcess) -> None:
    def state() -> str:
        agents = asks(hive, "manager", "list_agents")["agents"]
        return str(next(agent["state"] for agent in agents if agent["name"] == "plain"))

    before, killed = first_process(hive, "h-plain"), len(events_to(hive, "manager", "killed"))
    assert asks(hive, "manager", "kill", name="plain")["state"] == "done"
    told(hive, "manager", "killed", agent="plain")
    assert not hive.status("plain").running
    hive.ask(host.SetPaused(name="plain", paused=False))
    assert state() == "stopped"
    hive.ask(host.SetPaused(name="plain", paused=True))
    assert asks(hive, "manager", "start", name="plain")["state"] == "done"
    hive.until("plain", lambda row: bool(row.active_model))
    second = first_process(hive, "h-plain")
    assert state() == "paused"
    assert asks(hive, "manager", "restart", name="plain")["state"] == "done"
    third = first_process(hive, "h-plain")
    assert asks(hive, "manager", "update", name="plain")["state"] == "done"
    assert len({before, second, third, first_process(hive, "h-plain")}) == 4
    told(hive, "manager", "rebuilt", agent="plain", ok=True)
    assert len(events_to(hive, "manager", "killed")) == killed + 1
    jobs = hive.ask(host.Jobs(name="plain", limit=4)).jobs or []
    assert [(job.kind, job.source, job.requester) for job in jobs] == [
        (kind, "manager", "manager") for kind in ("rebuild", "restart", "start", "stop")
    ]


def test_the_manager_reads_logs_and_decisions(hive: HiveProcess) -> None:
    lines = asks(hive, "manager", "get_logs", agent="plain", lines=5)["lines"]
    assert len(lines) <= 5
    asked = asks(hive, "manager", "request_spawn", mid="m-spawn", name="wanted", description="to help")
    hive.ask(host.Deny(id=asked["approval"], reason="not now"))
    newest = asks(hive, "manager", "get_approvals", limit=1)["approvals"][0]
    assert (newest["id"], newest["kind"], newest["agent"]) == (asked["approval"], "spawn", "wanted")
    assert (newest["status"], newest["note"], newest["description"]) == ("denied", "not now", "to help")
    heard = told(hive, "manager", "approval_resolved", id=asked["approval"])
    assert heard == {
        "event": "approval_resolved", "id": asked["approval"], "agent": "wanted", "kind": "spawn", "status": "denied",
        "note": "not now",
    }  # fmt: skip


def test_a_request_that_is_repeated_is_one_request(hive: HiveProcess) -> None:
    first = asks(hive, "manager", "request_spawn", mid="m-again", name="twice", description="d")
    assert asks(hive, "manager", "request_spawn", mid="m-again", name="twice", description="d") == first
    other = asks(hive, "manager", "request_spawn", mid="m-other", name="twice", description="d")
    assert f"approval {first['approval']} asks for it already" in other["message"]
    ends = asks(hive, "manager", "get_loose_ends")["ends"]
    assert [end["id"] for end in ends if end["kind"] == "approval"] == [first["approval"]]
    assert refused(asks(hive, "lead", "cancel_loose_end", kind="approval", id=first["approval"]))
    asks(hive, "manager", "cancel_loose_end", kind="approval", id=first["approval"])
    assert approval(hive, first["approval"]).status == "cancelled"
    with pytest.raises(FaultError) as fault:
        hive.ask(host.Approve(id=first["approval"]))
    assert fault.value.kind is FaultKind.WRONG_STATE
    assert "twice" not in (hive.ask(host.List()).agents or [])


# what it is told


def test_the_manager_hears_once_that_a_container_died_and_how(hive: HiveProcess) -> None:
    before = first_process(hive, "h-kid")
    os.kill(before, signal.SIGKILL)
    event = told(hive, "manager", "container_crash")
    words = {"event": "container_crash", "agent": "kid", "note": "killed by SIGKILL", "cause": "signal", "signal": 9}
    assert {name: value for name, value in event.items() if name != "last_lines"} == words
    eventually(lambda: first_process(hive, "h-kid") not in (0, before))
    hive.until("kid", lambda row: row.running)
    assert events_to(hive, "manager", "container_crash") == [event]


def test_the_manager_hears_once_that_an_agent_needs_a_login_and_that_it_has_one(hive: HiveProcess) -> None:
    for needed in (True, True, False, False):
        asks(hive, "plain", "report", needs_login=needed)
    assert told(hive, "manager", "logged_in") == {"event": "logged_in", "agent": "plain"}
    assert events_to(hive, "manager", "needs_login") == [{"event": "needs_login", "agent": "plain"}]
    assert len(events_to(hive, "manager", "logged_in")) == 1


def test_the_manager_hears_of_a_container_that_older_software_made_and_updates_it(hive: HiveProcess) -> None:
    hive.stop()
    with closing(sqlite3.connect(hive.paths.database)) as database:
        database.execute("UPDATE agents SET built_with = 'of an older hive' WHERE name = 'plain'")
        database.commit()
    hive.start()
    assert told(hive, "manager", "needs_update") == {"event": "needs_update", "agent": "plain"}
    assert hive.status("plain").needs_update
    assert asks(hive, "manager", "update", name="plain")["state"] == "done"
    assert not hive.status("plain").needs_update
    assert len(events_to(hive, "manager", "needs_update")) == 1


# tool groups


PARAMS: dict[str, dict[str, Any]] = {
    "request_spawn": {"mid": "m", "name": "mine"},
    "request_init_config": {"mid": "m", "name": "mine"},
    "request_apply_commit": {"mid": "m", "agent": "plain", "commit_ref": "abcdef0"},
    "request_schedule": {"mid": "m", "agent": "plain", "name": "daily", "schedule": {"message": "x", "every": 60}},
    "request_schedule_removal": {"mid": "m", "agent": "plain", "name": "daily"},
    "get_logs": {"agent": "plain"},
    "get_approvals": {},
    "request_update_meta_inputs": {"mid": "m"},
}


def test_an_agent_without_tool_groups_can_use_none_of_the_managers_methods(hive: HiveProcess) -> None:
    for group, methods in GROUP_METHODS.items():
        for method in methods:
            params = PARAMS.get(method.name, {"name": "plain"})
            assert repr(group) in refused(asks(hive, "plain", method.name, **params)), method.name
    assert "'diagnostics'" in refused(asks(hive, "lead", "get_logs", agent="kid"))
    assert asks(hive, "plain", "whoami")["tool_groups"] == []


def test_an_agent_with_a_tool_group_acts_on_its_own_children_only(hive: HiveProcess) -> None:
    assert asks(hive, "lead", "kill", name="kid")["state"] == "done"
    assert asks(hive, "lead", "start", name="kid")["state"] == "done"
    hive.until("kid", lambda row: bool(row.active_model))
    for other in ("plain", "manager", "hm1nd", "lead", "deputy"):
        assert "(kid)" in refused(asks(hive, "lead", "kill", name=other)), other
    assert "(kid)" in refused(
        asks(hive, "lead", "request_apply_commit", mid="m-p", agent="plain", commit_ref="abcdef0")
    )
    assert "(kid)" in refused(asks(hive, "lead", "request_schedule", **PARAMS["request_schedule"]))
    assert asks(hive, "kid", "whoami")["parent"] == "lead"
    assert asks(hive, "lead", "kill", name="nobody")["data"]["kind"] == "unknown_agent"
    seen = {row["name"]: row["parent"] for row in asks(hive, "lead", "list_agents")["agents"]}
    assert (seen["kid"], seen["plain"], seen["manager"]) == ("lead", "manager", "")


def test_a_managers_role_steers_its_own_children_and_no_others(hive: HiveProcess) -> None:
    assert asks(hive, "deputy", "whoami")["tool_groups"] == ["lifecycle", "approvals", "diagnostics"]
    for other in ("plain", "kid", "manager"):
        assert "(none)" in refused(asks(hive, "deputy", "restart", name=other))
    assert "(none)" in refused(asks(hive, "deputy", "get_logs", agent="plain"))
    asked = asks(hive, "deputy", "request_spawn", mid="m-ward", name="ward", description="the deputy's")
    assert asked["approval"] not in [row["id"] for row in asks(hive, "lead", "get_approvals")["approvals"]]
    hive.ask(host.Approve(id=asked["approval"]))
    at_rest(hive, "ward")
    assert hive.status("ward").parent == "deputy"
    assert asks(hive, "ward", "whoami")["parent"] == "deputy"
    assert told(hive, "deputy", "approval_resolved", id=asked["approval"])["status"] == "approved"
    assert asks(hive, "deputy", "get_logs", agent="ward")["lines"] is not None
    assert asks(hive, "deputy", "kill", name="ward")["state"] == "done"
    assert refused(asks(hive, "lead", "start", name="ward"))
    hive.ask(host.Destroy(name="ward"))
    assert told(hive, "manager", "destroyed", agent="ward") == {"event": "destroyed", "agent": "ward"}


def test_nobody_becomes_the_parent_of_who_steers_it(hive: HiveProcess) -> None:
    for name, parent in (("lead", "kid"), ("plain", "plain"), ("plain", "nobody")):
        with pytest.raises(FaultError) as fault:
            propose(hive, name, f'parent = "{parent}"\n')
        assert fault.value.kind is FaultKind.BAD_CONFIG
        assert "parent" in fault.value.message or "steered" in fault.value.message
    assert undecided(hive) == []


# who may write to whom


def test_the_recipients_that_a_config_allows_hold_for_every_way_of_writing_once_it_is_live(hive: HiveProcess) -> None:
    assert "ids" in asks(hive, "plain", "send", mid="m-1", to="lead", body="before")
    hive.configure("plain", 'allowed_recipients = ["kid"]\n')
    hive.until("plain", lambda row: bool(row.active_model))
    for to in ("lead", "operator", "plain2"):
        assert "kid" in refused(asks(hive, "plain", "send", mid=f"m-{to}", to=to, body="x"))
    for question in ({"to": "lead"}, {"to": "operator"}, {}):
        assert "kid" in refused(asks(hive, "plain", "ask", mid="m-q", question="?", **question))
    for to in ("kid", "manager"):
        assert asks(hive, "plain", "send", mid=f"m-ok-{to}", to=to, body="after")["recipients"] == [to]
    assert asks(hive, "plain", "ask", mid="m-ok", question="may I?", to="manager")["id"]
    everyone = asks(hive, "plain", "send", mid="m-all", to="*", body="to all")
    assert sorted(everyone["recipients"]) == ["kid", "manager"]
    assert "to all" not in [row.body for row in letters(hive, "lead")]
    assert asks(hive, "manager", "send", mid="m-back", to="plain", body="hello")["recipients"] == ["plain"]
