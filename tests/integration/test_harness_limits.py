"""What the real claude says of limits, overloads and refused logins, and what the harness makes of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from harness_rig import Rig, rig
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Auth, AuthState, Credential, CredentialMark, Pause
from hyperhive.protocol.events import Outcome, TurnEnd
from hyperhive.protocol.settings import AgentSettings
from hyperhive.rehearsal.script import Fail, Say, Usage, Windows, on
from hyperhive.testing.model import ScriptedModel
from login_authority import authority

pytestmark = pytest.mark.claude

TOKEN = "sk-ant-oat01-" + "DUMMYTOKEN" * 4
ANOTHER = "sk-ant-oat01-" + "OTHERTOKEN" * 4


@asynccontextmanager
async def account(env: Mapping[str, str], whose: str = "hive") -> AsyncIterator[tuple[Rig, ScriptedModel]]:
    """A harness that rehearses nothing. Its claude reaches the model by the hive's token, or by a login of its own."""
    model = ScriptedModel(port=0)
    await asyncio.to_thread(model.__enter__)
    there = {**env, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{model.port}"}
    settings = AgentSettings(credentials="hive" if whose == "hive" else "own", env=there)
    try:
        async with rig(settings, env={"HYPERHIVE_REHEARSAL_SOCKET": ""}, start=False) as r:
            r.hive.credential = token(TOKEN)
            yield r, model
    finally:
        await asyncio.to_thread(model.__exit__, None, None, None)


def token(text: str) -> Credential:
    return Credential(env={"CLAUDE_CODE_OAUTH_TOKEN": text}, mark=text[-16:])


def keep_login(r: Rig, *, access_ends_in: float) -> Path:
    """A login as claude would have stored it, with tokens that nobody knows."""
    file = r.root / "home" / ".claude" / ".credentials.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    login = {
        "accessToken": "sk-ant-oat01-nobody-knows-this-one", "refreshToken": "sk-ant-ort01-nobody-knows-it",
        "expiresAt": (time.time() + access_ends_in) * 1000, "refreshTokenExpiresAt": (time.time() + 86400) * 1000,
        "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
    }  # fmt: skip
    file.write_text(json.dumps({"claudeAiOauth": login}))
    file.chmod(0o600)
    return file


async def ended(r: Rig, number: int) -> TurnEnd:
    await r.hive.until(lambda: len(r.hive.events(TurnEnd)) >= number)
    return r.hive.events(TurnEnd)[number - 1]


async def reported(r: Rig, field: str) -> None:
    await r.hive.until(lambda: r.hive.reported[field])


async def go_on(r: Rig) -> None:
    await r.hive.call(agent.PAUSE, Pause(paused=False))


def told(r: Rig, field: str) -> list[Any]:
    return [value for report in r.hive.reports if (value := getattr(report, field)) is not UNSET]


def test_a_limit_with_a_reset_parks_until_then_or_the_operators_word_and_an_overload_for_moments() -> None:
    async def main() -> None:
        async with account({}) as (r, model):
            refused = Fail(429, limit_resets_in_s=4000, times=1)
            model.script(
                "a",
                on("two", refused, Say("Yes.")),
                on("three", Fail(429, may_retry=False, times=1), Fail(529, times=4), Say("Yes.")),
                on("one", Windows(0.5, 0.25), Say("Yes.")),
            )
            await r.start()
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.reported.get("windows"))
            windows = {window.name: window.utilization for window in r.hive.reported["windows"]}
            assert windows == {"five_hour": 0.5, "seven_day": 0.25}
            assert (await ended(r, 1)).outcome == Outcome.OK

            two = r.hive.mail("two")
            await r.hive.until(lambda: r.hive.reported["limited_until"])
            assert (await ended(r, 2)).outcome == Outcome.RATE_LIMITED
            assert 3000 < r.hive.reported["limited_until"] - time.time() <= 4000
            assert (r.hive.state_of(two), r.hive.inbox[two].envelope.attempt) == ("queued", 1)
            await go_on(r)
            assert (await ended(r, 3)).outcome == Outcome.OK
            await r.hive.until(lambda: told(r, "limited_until")[-1] == 0)

            three = r.hive.mail("three")
            for number in (4, 5):  # a 429 without a reset; then a storm that outlasts claude's own tries
                await r.hive.until(lambda: r.hive.reported["overloaded_until"])
                assert (await ended(r, number)).outcome == Outcome.OVERLOADED
                assert 0 < r.hive.reported["overloaded_until"] - time.time() < 60
                assert (r.hive.state_of(three), r.hive.inbox[three].envelope.attempt) == ("queued", 1)
                await go_on(r)
                await r.hive.until(lambda: r.hive.reported["overloaded_until"] == 0)
            assert (await ended(r, 6)).outcome == Outcome.OK
            await r.hive.until(lambda: r.hive.state_of(three) == "acked")
            assert r.hive.reported["limited_until"] == 0

    asyncio.run(main())


def test_what_comes_over_a_compaction_or_a_checkpoint_parks_the_agent_and_costs_no_attempt() -> None:
    async def main() -> None:
        async with account({}) as (r, model):
            refused, away = Fail(401, may_retry=False), Fail(529, may_retry=False)
            too_long = Fail(400, message="prompt is too long: 1000001 tokens > 1000000 maximum", times=1)
            limit = Fail(429, limit_resets_in_s=4000)
            model.script("a", on("", limit, compacting=True), on("one", Say("A story. " * 400)))
            await r.start()
            r.hive.mail("one")
            assert (await ended(r, 1)).ok
            await r.hive.call(agent.COMPACT, agent.Compact())
            assert (await ended(r, 2)).outcome == Outcome.RATE_LIMITED
            await r.hive.until(lambda: r.hive.reported["limited_until"])
            asked = len(model.requests())
            two = r.hive.mail("two")  # as if the hive held nothing back
            await r.hive.until(lambda: r.hive.inbox[two].reasons)
            assert (r.hive.state_of(two), len(model.requests())) == ("queued", asked)

            for number, fault, field, outcome in (
                (3, refused, "needs_login", Outcome.NEEDS_LOGIN),
                (5, away, "overloaded_until", Outcome.OVERLOADED),
            ):
                model.script("a", on("", fault, compacting=True), on("two|three", too_long, fault))
                await go_on(r)
                message = two if fault is refused else r.hive.mail("three")
                assert (await ended(r, number)).outcome == outcome
                await reported(r, field)
                assert (r.hive.state_of(message), r.hive.inbox[message].envelope.attempt) == ("queued", 1)
                model.script("a", on("", Say("Yes.")))
                await go_on(r)
                assert (await ended(r, number + 1)).ok

            long = Usage(input=800_000, output=10)
            model.script("a", on("from the hive itself", refused), on("four", long, Say("Yes.")))
            r.hive.mail("four")
            await r.hive.until(lambda: r.hive.reported["needs_login"])
            assert [(await ended(r, number)).outcome for number in (7, 8)] == [Outcome.OK, Outcome.NEEDS_LOGIN]

    asyncio.run(main())


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_of_the_hives_is_told_from_a_login_that_is_missing(status: int) -> None:
    async def main() -> None:
        async with account({}) as (r, model):
            refusal = Fail(status, type="permission_error", message="OAuth token has been revoked.", may_retry=False)
            model.script("a", on("", refusal))
            message = r.hive.mail("one")
            await r.start()
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert (await ended(r, 1)).outcome == Outcome.NEEDS_LOGIN
            assert r.hive.reported["auth"].state == AuthState.REFUSED
            assert r.hive.reported["auth"].note
            assert TOKEN not in r.hive.reported["auth"].note
            await go_on(r)  # without another token, which is no news
            assert (await ended(r, 2)).outcome == Outcome.NEEDS_LOGIN
            assert told(r, "needs_login")[told(r, "needs_login").index(True) :] == [True]
            assert (r.hive.state_of(message), r.hive.inbox[message].envelope.attempt) == ("queued", 1)
            model.script("a", on("", Say("Yes.")))
            r.hive.credential = token(ANOTHER)
            await r.hive.call(agent.CREDENTIAL_CHANGED, CredentialMark(mark=r.hive.credential.mark))
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")
            assert r.hive.reported["auth"] == Auth(state=AuthState.OK)
            assert not r.hive.reported["needs_login"]

    asyncio.run(main())


def test_a_login_whose_renewal_is_refused_is_told_from_one_whose_access_has_lapsed(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            authority(tmp_path, 400, {"error": "invalid_grant"}) as whom,
            account(whom.env, "own") as (r, model),
        ):
            model.script("a", on("", Say("Yes.")))
            file = keep_login(r, access_ends_in=-60)
            await r.start()
            await r.hive.until(lambda: r.hive.reported.get("auth"))
            lapsed = r.hive.reported["auth"]
            assert lapsed.state == AuthState.OK
            assert lapsed.renews_at < time.time() < lapsed.valid_until
            assert not whom.asked  # looking renews nothing
            message = r.hive.mail("one")
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert [line for line in whom.asked if "/oauth/token" in line]
            assert (await ended(r, 1)).outcome == Outcome.NEEDS_LOGIN
            assert r.hive.reported["auth"].state == AuthState.RENEWAL_FAILED
            assert (r.hive.state_of(message), r.hive.inbox[message].envelope.attempt) == ("queued", 1)
            assert json.loads(file.read_text())["claudeAiOauth"]["accessToken"] == ""
            keep_login(r, access_ends_in=3600)
            await go_on(r)  # as the look of once a minute would find
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")
            assert r.hive.reported["auth"].state == AuthState.OK
            said = b"".join(bytes(record.payload) for record in r.hive.records) + r.log().encode()
            assert b"nobody-knows" not in said

    asyncio.run(main())
