"""From a wish of the operator's to a living agent, and what becomes of configs that are wrong: the real daemon, real
containers, the real claude with the hive's own tools; only the model is scripted."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

import needs
from config_house import git
from hyperhive.protocol import host
from hyperhive.rehearsal.script import Call, Say, Turn, on
from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive
from hyperhive.testing.model import ScriptedModel
from manager_house import approval, cli, document, events_to, inside, proposed, told, undecided

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

TOOL = "mcp__hyperhive__"
FIRST = """\
description = "reads changes"
system_prompt = "Be brief."
[tools]
bash_deny = ["rm *"]
[mcp_servers.notes]
command = "/usr/bin/true"
allowed_tools = ["read"]
"""


@pytest.fixture
def hive_and_model() -> Iterator[tuple[HiveProcess, ScriptedModel]]:
    needs.bwrap()
    needs.claude()
    needs.program("git", "install git")
    with running_hive(manager=True) as both:
        yield both


def answers(text: str) -> Call:
    return Call(f"{TOOL}send", {"to": "operator", "body": text, "in_reply_to": "{{id:int}}"})


def proposes(when: str, toml: str, *more: Call, sender: str = "operator") -> Turn:
    """A turn of the manager's that writes this agent.toml, commits it and proposes the commit that git names."""
    commit = f"cat > /agents/reader/config/agent.toml <<'END'\n{toml}END\n"
    commit += "(cd /agents/reader/config && git commit -qam 'a config' && git rev-parse HEAD)"
    propose = {"agent": "reader", "commit_ref": "{{result}}", "description": f"because of {when}"}
    return on(
        when, Call("Bash", {"command": commit}), Call(f"{TOOL}request_apply_commit", propose), *more, Say("done"),
        sender=sender,
    )  # fmt: skip


def tags(hive: HiveProcess) -> dict[str, str]:
    """Those of the agent's applied repository, with their messages."""
    form = "--format=%(refname:short)%09%(contents:subject)"
    lines = git(hive.paths.applied("reader"), "for-each-ref", form, "refs/tags").splitlines()
    return dict(line.split("\t", 1) for line in lines)


def live(hive: HiveProcess) -> str:
    """The commit of which the agent's container was made, by all who could say otherwise."""
    config = hive.ask(host.Config(name="reader")).config
    assert isinstance(config, host.AgentConfig)
    assert document(hive, "reader")["deployed_sha"] == config.sha
    assert git(hive.paths.applied("reader"), "rev-parse", "main") == config.sha
    assert f'"{config.sha}"' in inside(hive, "reader", "cat /run/hive/agent.json\n")
    return config.sha


def approved_in_vain(hive: HiveProcess, row: host.Approval) -> str:
    """Approve a config whose container dies before its harness is up; what the operator's command says."""
    before = first_process(hive)
    with ThreadPoolExecutor() as beside:
        said = beside.submit(cli, hive, "approve", str(row.id), "--yes", fails=True)
        eventually(lambda: first_process(hive) not in (0, before) and hive.status("reader").running)
        os.kill(first_process(hive), signal.SIGKILL)
        return said.result()


def first_process(hive: HiveProcess) -> int:
    """Of the agent's container; 0 while there is none."""
    try:
        record = (hive.paths.containers / "h-reader/record.json").read_bytes()
    except FileNotFoundError:
        return 0
    number = (msgspec.json.decode(record)["init"] or {"pid": 0})["pid"]
    assert isinstance(number, int)
    return number


def test_a_wish_becomes_an_agent_that_works_and_wrong_configs_change_nothing(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, model = hive_and_model
    asks_for_it = {"name": "reader", "description": "reads changes"}
    refusal = answers("the hive said: {{result}}")
    model.script(
        "manager",
        on(
            "I want a new agent", Call(f"{TOOL}request_init_config", asks_for_it), answers("{{result}}"), Say("asked"),
            sender="operator",
        ),
        proposes("config_ready", FIRST, sender="system"),
        proposes("misspell it", FIRST.replace("description", "descripton"), refusal),
        proposes("let it out", f'{FIRST}[network]\nallow = ["example.org"]\n'),
        proposes("make it slow", f'{FIRST}[limits]\ncpu = "1%"\n'),
        on("what failed", Call(f"{TOOL}get_approvals", {"limit": 1}), answers("{{result}}"), Say("told")),
        on("", Say("noted")),
    )  # fmt: skip
    model.script(
        "reader",
        on("look at it", Call("Bash", {"command": "rm -rf /state/precious"}), answers("{{result}}"), Say("done")),
        on("", Say("noted")),
    )

    # the wish
    hive.until("manager", lambda row: bool(row.active_model))
    told(hive, "manager", "spawned", agent="manager", ok=True)
    hive.until("manager", lambda row: row.unread == 0 and row.turn_state == "idle")
    said = hive.reply(hive.send("manager", "I want a new agent that reads changes"))
    asked = proposed(hive, "reader", "init_config")
    assert f"approval {asked.id} waits for the operator" in said
    assert (asked.requester, asked.description) == ("manager", "reads changes")
    assert not hive.paths.agent_config("reader").exists()

    # its config repository, and the first commit
    assert f"approved {asked.id}" in cli(hive, "approve", str(asked.id), "--yes")
    first = proposed(hive, "reader")
    assert isinstance(first.fetched_sha, str)
    assert git(hive.paths.agent_config("reader"), "-c", "safe.directory=*", "rev-parse", "HEAD") == first.fetched_sha
    assert "reader" not in (hive.ask(host.List()).agents or [])
    shown = cli(hive, "diff", str(first.id))
    assert '+bash_deny = ["rm *"]' in shown
    assert "reader" in cli(hive, "pending")
    assert "approve" in cli(hive, "approve", str(first.id), "--sha", "0" * 40, fails=True)
    assert approval(hive, first.id).status == "pending"
    cli(hive, "approve", str(first.id), "--sha", first.fetched_sha)

    # the agent lives by what was approved
    assert live(hive) == first.fetched_sha
    settings = document(hive, "reader")["settings"]
    assert settings["tools"]["bash_deny"] == ["rm *"]
    assert settings["mcp_servers"]["notes"]["allowed_tools"] == ["read"]
    assert tags(hive).keys() >= {f"{stage}/{first.id}" for stage in ("proposal", "approved", "building", "deployed")}
    assert "rm" in hive.reply(hive.send("reader", "look at it"))
    told(hive, "manager", "approval_resolved", id=first.id, status="approved", tag=f"deployed/{first.id}")
    spawned = told(hive, "manager", "spawned", agent="reader")
    tag = f"deployed/{first.id}"
    assert spawned == {"event": "spawned", "agent": "reader", "ok": True, "sha": first.fetched_sha, "tag": tag}

    # a key that there is not
    said = hive.reply(hive.send("manager", "misspell it"))
    assert "line 1: unknown key `descripton`; did you mean `description`?" in said
    assert undecided(hive) == []

    # a denial
    hive.send("manager", "let it out")
    second = proposed(hive, "reader")
    assert "example.org" in " ".join(second.warnings or [])
    cli(hive, "deny", str(second.id), "--reason", "not out there")
    assert told(hive, "manager", "approval_resolved", id=second.id)["note"] == "not out there"
    assert tags(hive)[f"denied/{second.id}"] == "not out there"

    # a config with which it cannot run
    hive.send("manager", "make it slow")
    third = proposed(hive, "reader")
    why = approved_in_vain(hive, third)
    assert "did not come up" in why, why
    row = approval(hive, third.id)
    assert row.status == "failed"
    assert isinstance(row.note, str)
    assert "did not come up" in row.note
    event = told(hive, "manager", "approval_resolved", id=third.id)
    assert (event["status"], event["note"], event["tag"]) == ("failed", row.note, f"failed/{third.id}")
    assert told(hive, "manager", "rebuilt", ok=False)["note"] == row.note
    assert tags(hive)[f"failed/{third.id}"] == row.note
    assert f"deployed/{third.id}" not in tags(hive)
    assert live(hive) == first.fetched_sha
    assert "rm" in hive.reply(hive.send("reader", "look at it"))
    hive.until("manager", lambda row: row.unread == 0 and row.turn_state == "idle")
    assert "did not come up" in hive.reply(hive.send("manager", "what failed"))
    assert [event for event in events_to(hive, "manager", "container_crash") if event["agent"] == "reader"] == []
