"""Scripts as files: what is read, and how faults are reported."""

import json
from pathlib import Path

import pytest

from hyperhive.rehearsal import scenarios, script_file
from hyperhive.rehearsal.script import Agent, Call, Fail, Opening, Say, Script, Together, on
from hyperhive.rehearsal.script_file import ScriptError

GOOD = """
title = "t"
pace_ms = 5
ending = "scout"
opening = { to = "scout", body = "go" }

[[agents]]
name = "scout"
[[agents.turns]]
when = "go (?P<where>.*)"
sender = "operator"
steps = [
  { do = "say", text = "to {{where}}" },
  { do = "together", calls = [{ do = "call", tool = "Bash", input = { command = "ls" } }] },
  { do = "fail", status = 529, times = 2 },
]
"""


def faults_of(document: str) -> list[str]:
    with pytest.raises(ScriptError) as refused:
        script_file.parse(document.encode(), source="test")
    return refused.value.faults


def test_a_toml_file_is_the_script_that_it_says() -> None:
    steps = (Say("to {{where}}"), Together([Call("Bash", {"command": "ls"})]), Fail(529, times=2))
    assert script_file.parse(GOOD.encode(), source="test") == Script(
        agents=(Agent("scout", (on("go (?P<where>.*)", *steps, sender="operator"),)),),
        title="t",
        pace_ms=5,
        opening=Opening("scout", "go"),
        ending="scout",
    )


def test_a_json_file_is_read_as_json(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"agents": [{"name": "a", "turns": [{"steps": [{"do": "say", "text": "hi"}]}]}]}))
    assert script_file.read(path) == Script(agents=(Agent("a", (on("", Say("hi")),)),))


def test_every_fault_is_reported_at_its_place() -> None:
    document = """
[[agents]]
name = "scout"
[[agents.turns]]
when = "("
steps = [{ do = "say", text = "fine" }]
[[agents.turns]]
steps = [{ do = "say" }, { do = "dance" }, { do = "stall", tmies = 3 }]
[[agents.turns]]
when = "(?P<x>a)"
steps = [{ do = "call", tool = "Bash", input = { command = "{{y}}" } }]
"""
    faults = faults_of(document)
    assert [fault.partition(":")[0] for fault in faults] == [
        "agent 'scout', turn 1",
        "agent 'scout', turn 2, step 1",
        "agent 'scout', turn 2, step 2",
        "agent 'scout', turn 2, step 3",
        "agent 'scout', turn 3",
    ]
    assert "unknown field {{y}}; there are: agent, id, prompt, result, sender, x" in faults[-1]


def test_names_must_be_of_agents_that_are_there() -> None:
    faults = faults_of('ending = "b"\nopening = { to = "c", body = "" }\nagents = [{ name = "a" }, { name = "a" }]')
    assert len(faults) == 3


@pytest.mark.parametrize("document", ["x = ", "colour = 1", "agents = 1", "agents = [1]", "agents = [{ turns = [] }]"])
def test_what_is_no_script_is_refused(document: str) -> None:
    assert faults_of(document)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"missing\.toml"):
        script_file.read(tmp_path / "missing.toml")


def test_a_file_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (script_file.MAX_FILE + 1))
    with pytest.raises(ScriptError, match="larger"):
        script_file.read(path)


@pytest.mark.parametrize("name", scenarios.names())
def test_each_scenario_that_comes_along_can_be_played_from_its_opening(name: str) -> None:
    script = scenarios.load(name)
    assert script.title
    assert script.opening
    assert all(agent.description for agent in script.agents if agent.name != "*")


def test_the_demo_comes_along() -> None:
    assert "demo" in scenarios.names()


def test_a_script_is_also_loaded_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert scenarios.load(str(path)).title == "t"
