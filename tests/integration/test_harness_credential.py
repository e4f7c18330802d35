"""The hive's credential in the harness: asked for when claude starts, in its environment and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness_rig import Rig, rig
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Credential, CredentialMark
from hyperhive.protocol.events import Outcome, TurnEnd
from hyperhive.protocol.settings import AgentSettings
from hyperhive.rehearsal.script import Fail, Gate, Say, on
from hyperhive.testing.model import ScriptedModel

pytestmark = pytest.mark.claude

FIRST = "sk-ant-api03-" + "FIRSTMARKER" * 4
SECOND = "sk-ant-api03-" + "SECONDMARKER" * 4


@asynccontextmanager
async def with_credentials(
    whose: str = "hive",
) -> AsyncIterator[tuple[Rig, ScriptedModel, Callable[[str], Credential]]]:
    """A harness that rehearses nothing: its claude reaches the model by the credential that the hive gives it."""
    settings = AgentSettings(credentials="hive" if whose == "hive" else "own")
    model = ScriptedModel(port=0)
    await asyncio.to_thread(model.__enter__)

    def given(key: str) -> Credential:
        env = {"ANTHROPIC_API_KEY": key, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{model.port}"}
        return Credential(env=env, mark=key[-16:])

    try:
        async with rig(settings, env={"HYPERHIVE_REHEARSAL_SOCKET": ""}, start=False) as r:
            yield r, model, given
    finally:
        await asyncio.to_thread(model.__exit__, None, None, None)


async def change(r: Rig, credential: Credential) -> None:
    r.hive.credential = credential
    await r.hive.call(agent.CREDENTIAL_CHANGED, CredentialMark(mark=credential.mark))


def keys_used(model: ScriptedModel) -> list[str]:
    return [recorded.request.headers.get("x-api-key", "") for recorded in model.requests()]


def seen_in(pid: int, file: str) -> str:
    return Path(f"/proc/{pid}/{file}").read_text()


def traces_of(r: Rig, *secrets: str) -> list[str]:
    """Files of the agent's, and events, that hold one of them."""
    files = [path for path in r.root.rglob("*") if path.is_file()]
    found = [str(path) for path in files for secret in secrets if secret.encode() in path.read_bytes()]
    records = [str(record.seq) for record in r.hive.records for s in secrets if s.encode() in bytes(record.payload)]
    return found + records


def test_claude_has_the_hives_credential_and_the_next_turn_has_a_new_one() -> None:
    async def main() -> None:
        async with with_credentials() as (r, model, given):
            r.hive.credential = given(FIRST)
            model.script("a", on("", Say("Well."), Gate("told"), Say("Yes.")), on("", Say("Yes.")))
            await r.start()
            r.hive.mail("one")
            await asyncio.to_thread(model.gate("told").wait_reached)
            (claude,) = await r.below("stream-json")
            assert FIRST not in seen_in(claude, "cmdline")
            assert FIRST in seen_in(claude, "environ")
            assert FIRST not in seen_in(r.pid, "environ")
            await change(r, given(SECOND))
            await asyncio.to_thread(model.gate("told").open)
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 1)
            assert {*keys_used(model)} == {FIRST}
            session = r.hive.reported["session_id"]
            r.hive.mail("two")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert keys_used(model)[-1] == SECOND
            assert r.hive.reported["session_id"] == session
            assert [end.outcome for end in r.hive.events(TurnEnd)] == [Outcome.OK, Outcome.OK]
            assert not traces_of(r, FIRST, SECOND)

    asyncio.run(main())


def test_an_agent_that_waits_for_a_login_goes_on_when_the_hive_has_a_credential() -> None:
    async def main() -> None:
        async with with_credentials() as (r, model, given):
            model.script("a", on("", Say("Yes.")))
            message = r.hive.mail("one")
            await r.start()
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert r.hive.state_of(message) == "queued"
            await change(r, given(FIRST))
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 1)
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")
            assert r.hive.inbox[message].envelope.attempt == 1
            assert r.hive.reported["needs_login"] is False
            assert {*keys_used(model)} == {FIRST}

    asyncio.run(main())


def test_a_credential_that_is_refused_parks_the_agent_until_there_is_another_one_also_one_set_while_it_was_away() -> (
    None
):
    async def main() -> None:
        async with with_credentials() as (r, model, given):
            r.hive.credential = given(FIRST)
            model.script("a", on("", Fail(401, may_retry=False, times=1), Say("Yes.")))
            message = r.hive.mail("one")
            await r.start()
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert r.hive.state_of(message) == "queued"
            await r.hive.down()
            r.hive.credential = given(SECOND)
            await r.hive.up()
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert [end.outcome for end in r.hive.events(TurnEnd)] == [Outcome.NEEDS_LOGIN, Outcome.OK]
            assert r.hive.inbox[message].envelope.attempt == 1
            assert (keys_used(model)[0], keys_used(model)[-1]) == (FIRST, SECOND)
            assert not traces_of(r, FIRST, SECOND)

    asyncio.run(main())


def test_without_a_credential_any_more_the_next_turn_has_none() -> None:
    async def main() -> None:
        async with with_credentials() as (r, model, given):
            r.hive.credential = given(FIRST)
            model.script("a", on("", Say("Yes.")))
            await r.start()
            r.hive.mail("one")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 1)
            await change(r, Credential())
            message = r.hive.mail("two")
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert r.hive.state_of(message) == "queued"
            assert {*keys_used(model)} == {FIRST}

    asyncio.run(main())


def test_an_agent_with_a_login_of_its_own_does_not_take_the_hives() -> None:
    async def main() -> None:
        async with with_credentials("own") as (r, model, given):
            r.hive.credential = given(FIRST)
            r.hive.mail("one")
            await r.start()
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert model.requests() == []

    asyncio.run(main())
