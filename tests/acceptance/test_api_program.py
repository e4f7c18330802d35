"""A program runs a hive by its API alone: all that pages do, without one."""

from collections.abc import Iterator

import pytest

from api_program import Program
from hyperhive.testing.hive_process import HiveProcess, running_hive

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    with running_hive(dashboard=True) as (hive, _):
        yield hive


@pytest.fixture(scope="module")
def program(hive: HiveProcess) -> Program:
    """With an agent `scout` that it has made."""
    program = Program.of(hive, "operate")
    assert program.post("/agents", {"name": "scout", "description": "looks around"}) == {}
    return program


def state_of(program: Program, name: str = "scout") -> dict[str, object]:
    (row,) = program.get(f"/agents/{name}")["agent_statuses"]
    return dict(row)


def test_an_agent_is_stopped_started_paused_and_looked_at(program: Program) -> None:
    assert state_of(program)["description"] == "looks around"
    program.post("/agents/scout/pause")
    assert state_of(program)["paused"] is True
    program.post("/agents/scout/resume")
    assert state_of(program)["paused"] is False
    program.post("/agents/scout/stop", {"graceful": False})
    assert state_of(program)["state"] == "stopped"
    assert program.refusal("POST", "/agents/scout/cancel") == (409, "wrong_state")
    program.post("/start", {"scope": {"agent_names": ["scout"]}})
    assert state_of(program)["running"] is True
    assert [row["name"] for row in program.get("/agents")["agent_statuses"]] == ["scout"]
    (job, *_) = program.get("/jobs?name=scout&limit=1")["jobs"]
    assert (job["kind"], job["state"]) == ("start", "done")
    assert program.get(f"/jobs/{job['id']}")["jobs"] == [job]
    assert program.get(f"/jobs/{job['id']}/log")["jobs"] == [job]
    assert program.refusal("POST", f"/jobs/{job['id']}/cancel") == (409, "wrong_state")


def test_mail_goes_once_and_can_be_followed(program: Program) -> None:
    program.post("/agents/scout/pause")
    letter = {"to": "scout", "body": "Is <b>anybody</b> there?", "mid": "of-the-program"}
    first = program.post("/messages", letter)
    assert program.post("/messages", letter) == first
    (number,) = first["ids"]
    assert program.get(f"/messages/{number}")["inbox"][0]["body"] == letter["body"]
    assert program.get(f"/messages/{number}/receipt")["receipt"]["to"] == "scout"
    assert program.get("/agents/scout/inbox?limit=1")["inbox"][0]["id"] == number
    assert program.get(f"/messages/{number}/reply?timeout_seconds=0") == {"inbox": []}
    assert program.refusal("POST", "/messages", {"to": "scuot", "body": "x"}) == (404, "unknown_recipient")
    assert program.refusal("POST", "/messages", {"to": "scout", "body": "x" * 70_000}) == (413, "body_too_long")
    (mine,) = program.post("/messages", {"to": "operator", "body": "a note"})["ids"]
    assert [row["id"] for row in program.get("/inbox?unread_only=true")["inbox"]] == [mine]
    program.post("/inbox/handled", {"ids": [mine]})
    assert program.get("/inbox?unread_only=true")["inbox"] == []
    assert [row["id"] for row in program.get("/messages?limit=2")["inbox"]] == [number, mine]
    assert program.get("/dead-letters")["inbox"] == []


def test_a_question_is_asked_and_answered_once(program: Program) -> None:
    (number,) = program.post("/questions", {"to": "scout", "question": "How far?", "options": ["far", "near"]})["ids"]
    assert [row["id"] for row in program.get("/questions")["questions"]] == [number]
    program.post(f"/questions/{number}/answer", {"answer": "far"})
    assert program.refusal("POST", f"/questions/{number}/answer", {"answer": "near"}) == (409, "wrong_state")
    (row,) = program.get("/questions?all=true")["questions"]
    assert (row["answer"], row["answerer"]) == ("far", "operator")


@pytest.mark.timeout(120)
def test_a_change_is_proposed_read_approved_by_its_sha_and_taken_back(program: Program) -> None:
    config = program.get("/agents/scout/config")["config"]
    text = "# " + "ü" * 4000 + f"\n{config['text']}\n[env]\n" + "".join(f'A{n} = "{n}"\n' for n in range(50))
    proposed = program.post("/agents/scout/config", {"text": text, "base": config["sha"], "description": "an env"})
    (row,) = proposed["approvals"]
    assert program.get(f"/approvals/{row['id']}")["approvals"][0]["description"] == "an env"
    diff = program.get(f"/approvals/{row['id']}/diff")
    assert diff["done"] is True
    (file,) = diff["diff"]["files"]
    assert '+A49 = "49"' in file["lines"]
    assert diff["diff"]["sha"] == row["fetched_sha"]
    wrong = {"sha": config["sha"]}
    assert program.refusal("POST", f"/approvals/{row['id']}/approve", wrong) == (409, "sha_mismatch")
    program.post(f"/approvals/{row['id']}/approve", {"sha": row["fetched_sha"]})
    now, first = program.get("/agents/scout/deployments")["deployments"]
    assert (now["sha"], now["current"], first["id"]) == (row["fetched_sha"], True, 0)
    program.post("/agents/scout/rollback", {"to": 0})
    assert program.get("/agents/scout/config")["config"]["text"] == config["text"]
    broken = {"text": "model = [", "base": program.get("/agents/scout/config")["config"]["sha"]}
    assert program.refusal("POST", "/agents/scout/config", broken) == (400, "bad_config")


def test_what_is_asked_for_can_be_denied(program: Program) -> None:
    (row,) = program.post("/requests/spawn", {"name": "later"})["approvals"]
    program.post(f"/approvals/{row['id']}/deny", {"reason": "not yet"})
    (denied,) = program.get(f"/approvals/{row['id']}")["approvals"]
    assert (denied["status"], denied["note"]) == ("denied", "not yet")
    assert program.refusal("POST", f"/approvals/{row['id']}/approve") == (409, "wrong_state")


def test_a_history_is_read_back_and_forth_without_gap_or_double(program: Program) -> None:
    for _ in range(4):
        program.post("/agents/scout/pause")
        program.post("/agents/scout/resume")
    whole = [event["id"] for event in program.get("/agents/scout/events?limit=1000")["events"]]
    assert whole == sorted(set(whole))
    back: list[int] = []
    before = ""
    while events := program.get(f"/agents/scout/events?limit=3{before}")["events"]:
        back = [event["id"] for event in events] + back
        before = f"&before={back[0]}"
    assert back == whole
    forth = [0]
    while events := program.get(f"/agents/scout/events?limit=3&after={forth[-1]}")["events"]:
        forth += [event["id"] for event in events]
    assert forth[1:] == whole
    between = program.get(f"/agents/scout/events?after={whole[0]}&before={whole[3]}")["events"]
    assert [event["id"] for event in between] == whole[1:3]


@pytest.mark.timeout(120)
def test_an_agent_is_destroyed_revived_and_purged(program: Program) -> None:
    program.post("/agents", {"name": "brief"})
    assert program.refusal("POST", "/agents", {"name": "brief"}) == (409, "name_taken")
    program.delete("/agents/brief")
    assert program.refusal("GET", "/agents/brief") == (404, "unknown_agent")
    assert [row["name"] for row in program.get("/tombstones")["tombstones"]] == ["brief"]
    program.post("/tombstones/brief/revive")
    assert state_of(program, "brief")["running"] is True
    (row,) = program.post("/agents/brief/proposals")["approvals"]
    program.delete("/agents/brief?purge=true")
    assert program.get("/tombstones")["tombstones"] == []
    assert program.refusal("GET", f"/approvals/{row['id']}/diff") == (409, "wrong_state")
    assert program.refusal("DELETE", "/agents/brief?purge=perhaps") == (400, "invalid_params")
    program.post("/agents", {"name": "brief"})
    program.delete("/agents/brief")
    program.delete("/tombstones/brief")
    assert program.get("/tombstones")["tombstones"] == []
