"""Claude logged in from outside, its conversation compacted, and what it says of both, through a whole hive."""

import json
import time
from collections.abc import Iterator

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.agent import Login, ReceiptState
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import Call, Fail, Say, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel
from manager_house import asks
from scripted_login import CODE, LINK, SCRIPTED_LOGIN

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

REPLY = Call("mcp__hyperhive__send", {"to": "operator", "body": "here I am", "in_reply_to": "{{id:int}}"})


@pytest.fixture(scope="module")
def hive_and_model() -> Iterator[tuple[HiveProcess, ScriptedModel]]:
    needs.bwrap()
    needs.claude()
    with running_hive() as both:
        yield both


def test_an_agent_without_a_login_gets_one_and_then_answers_by_itself(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, model = hive_and_model
    model.script("scout", on("", Fail(401, may_retry=False, times=1), REPLY, Say("Done.")))
    hive.prepare("scout", f"[env]\nHYPERHIVE_LOGIN_CMD = {json.dumps(SCRIPTED_LOGIN)}\n")
    hive.ask(host.Spawn(name="scout"))
    asked = hive.send("scout", "where are you?")
    assert hive.until("scout", lambda row: row.needs_login).state == "needs_login"
    assert (hive.receipt(asked).state, hive.receipt(asked).attempt) == (ReceiptState.SENT, 1)
    waiting = hive.ask(host.AgentLogin(name="scout"))
    assert waiting.login == Login(state="waiting", url=LINK)
    assert hive.status("scout").login == waiting.login
    cut = hive.ask(host.AgentLoginCode(name="scout", code="half")).login
    assert isinstance(cut, Login)
    assert cut.state == "waiting"
    assert "full code" in cut.note
    assert hive.ask(host.AgentLoginCode(name="scout", code=CODE)).login == Login(state="done")
    assert hive.reply(asked) == "here I am"
    row = hive.until("scout", lambda row: row.turn_state == "idle")
    assert (row.needs_login, row.login) == (False, Login(state="done"))
    assert hive.receipt(asked).attempt == 1
    seen = hive.events("scout", until=lambda event: b"claude has a login" in bytes(event.payload))
    for secret in (CODE, "secret-of-the-link"):
        assert not [event for event in seen if secret.encode() in bytes(event.payload)]
        assert secret not in hive.log.read_text()


def test_a_conversation_is_compacted_on_the_operators_word(hive_and_model: tuple[HiveProcess, ScriptedModel]) -> None:
    hive, model = hive_and_model
    model.script("teller", on("story", Say("A long story. " * 400)))
    hive.ask(host.Spawn(name="teller"))
    hive.until("teller", lambda row: bool(row.active_model))  # its harness is there
    with pytest.raises(FaultError, match="no conversation to compact yet"):
        hive.ask(host.Compact(name="teller"))
    hive.send("teller", "tell me a story")
    before = hive.until("teller", lambda row: bool(row.context_tokens) and row.turn_state == "idle").context_tokens
    assert hive.ask(host.Compact(name="teller", instructions="keep the end")).done
    after = hive.until("teller", lambda row: row.context_tokens != before and row.turn_state == "idle").context_tokens
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after < before
    seen = hive.events("teller", until=lambda event: b"goes on from a summary" in bytes(event.payload))
    starts = [json.loads(bytes(event.payload)) for event in seen if event.kind == "turn_start"]
    assert [start["from"] for start in starts] == ["operator", "operator"]
    assert starts[-1]["body"] == "/compact keep the end"


def test_what_a_harness_says_of_limits_and_logins_is_bounded(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, _ = hive_and_model
    hive.ask(host.Spawn(name="liar"))
    hive.until("liar", lambda row: bool(row.active_model))
    assert asks(hive, "liar", "report", limited_until=2**40)["data"]["kind"] == FaultKind.INVALID_PARAMS
    asks(hive, "liar", "report", limited_until=2**36)
    year = str(hive.status("liar").limited_until)[:4]
    assert int(year) <= time.gmtime().tm_year + 1
    long = {"state": "waiting", "url": "https://claude.ai/" + "x" * 4096}
    assert asks(hive, "liar", "report", login=long)["data"]["kind"] == FaultKind.INVALID_PARAMS
    asks(hive, "liar", "report", limited_until=0)  # that it waits no more decides nothing
    assert hive.status("liar").limited_until
    hive.ask(host.SetPaused(name="liar", paused=False))
    assert not hive.status("liar").limited_until
    hive.ask(host.Restart(name="liar"))
    assert not hive.status("liar").login


def test_a_container_does_not_sleep_while_a_login_waits_for_its_code(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, _ = hive_and_model
    for name in ("early", "late"):
        hive.prepare(
            name,
            f"sleep_after = 1\ndeep_sleep_after = 1\n[env]\nHYPERHIVE_LOGIN_CMD = {json.dumps(SCRIPTED_LOGIN)}\n",
        )
    hive.ask(host.Spawn(name="early"))
    hive.until("early", lambda row: bool(row.active_model))
    hive.ask(host.AgentLogin(name="early"))
    hive.ask(host.Spawn(name="late"))
    hive.until("late", lambda row: row.state == "asleep")
    assert hive.status("early").running
    hive.ask(host.AgentLoginCancel(name="early"))
    hive.until("early", lambda row: row.state == "asleep")


def test_without_a_harness_there_is_nothing_to_log_in_or_compact(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, _ = hive_and_model
    hive.ask(host.Spawn(name="away"))
    hive.ask(host.Kill(name="away"))
    asks: list[host.AnyRequest] = [
        host.Compact(name="away"),
        host.AgentLogin(name="away"),
        host.AgentLoginCode(name="away", code="a#b"),
        host.AgentLoginCancel(name="away"),
    ]
    for ask in asks:
        with pytest.raises(FaultError, match="hive start away") as refused:
            hive.ask(ask)
        assert refused.value.kind == FaultKind.WRONG_STATE
