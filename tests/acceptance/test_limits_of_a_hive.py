"""A usage limit in a whole hive: one agent runs into it, the other one of the account does not."""

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.rehearsal.script import Call, Fail, Say, Windows, on
from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive
from hyperhive.testing.model import ScriptedModel
from manager_house import cli

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(240)]

REPLY = Call("mcp__hyperhive__send", {"to": "operator", "body": "here I am", "in_reply_to": "{{id:int}}"})
HIVES = 'credentials = "hive"\n[network]\nmode = "host"\n'


def account(hive: HiveProcess, model: ScriptedModel) -> None:
    """The hive has the token of a subscription, which the model takes."""
    text = f"CLAUDE_CODE_OAUTH_TOKEN=MARKER-OF-A-TOKEN\nANTHROPIC_BASE_URL=http://127.0.0.1:{model.port}\n"
    hive.ask(host.SetCredential(env_file=text))


def is_held(row: host.AgentStatusRow) -> bool:
    return row.state == "rate_limited"


def test_one_agent_runs_into_the_limit_and_the_other_waits_without_a_try_until_the_operators_word() -> None:
    needs.bwrap()
    needs.claude()
    with running_hive() as (hive, _), ScriptedModel(port=0) as model:
        hive.stop()
        hive.rehearsing = False
        hive.start()
        account(hive, model)
        refused = Fail(429, limit_resets_in_s=4000, times=1)
        model.script("first", on("", refused, REPLY, Say("Done.")))
        model.script("second", on("", Windows(0.25, 0.5), REPLY, Say("Done.")))
        for name in ("first", "second"):
            hive.prepare(name, HIVES)
            hive.ask(host.Spawn(name=name))
        to_first = hive.send("first", "where are you?")
        first = hive.until("first", is_held)
        second = hive.until("second", is_held)
        assert "says first" in str(second.limit)
        assert str(first.limited_until) > str(second.limited_until)
        to_second = hive.send("second", "and you?")

        hive.kill()
        hive.start()
        assert is_held(hive.status("first"))
        assert is_held(hive.status("second"))
        assert (hive.receipt(to_second).state, hive.receipt(to_second).attempt) == ("sent", 1)
        assert model.requests("second") == []
        assert "usage limit holds it" in cli(hive, "list")

        cli(hive, "resume", "second")
        assert hive.reply(to_second) == "here I am"
        assert is_held(hive.status("first"))
        cli(hive, "resume", "first")  # its own harness waits, too
        assert hive.reply(to_first) == "here I am"
        assert hive.receipt(to_first).attempt == 1
        eventually(lambda: bool(hive.status("second").windows))
        cli(hive, "reserve", "80")
        kept = hive.until("second", is_held)
        assert "is yours" in str(kept.limit)
        cli(hive, "reserve", "0")
        hive.until("second", lambda row: not is_held(row))
