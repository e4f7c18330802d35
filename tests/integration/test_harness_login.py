"""A login of claude's in the harness's container: started, given its code, cancelled and ended from outside."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from harness_rig import Rig, rig
from hyperhive.harness.command import ClaudeCommand
from hyperhive.harness.condition import Condition
from hyperhive.harness.init import Children
from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.harness.login import Logins, Patience
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Hello, Login, LoginCode, LoginState, Pause
from hyperhive.protocol.events import Note, Outcome, TurnEnd
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.login_links import trusted_login_url
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import AgentDocument, AgentSettings
from hyperhive.rehearsal.script import Fail, Gate, Say, on
from hyperhive.testing.fake_hive import FakeHive
from hyperhive.testing.hive_process import eventually
from scripted_login import CODE, LINK, SCRIPTED_LOGIN

pytestmark = pytest.mark.claude


@asynccontextmanager
async def logging_in(command: str = "", **env: str) -> AsyncIterator[Rig]:
    """A harness whose login is the scripted one, or this command."""
    async with rig(start=False, env=env) as r:
        own = {"HYPERHIVE_LOGIN_CMD": command or SCRIPTED_LOGIN}
        document = AgentDocument(name="a", settings=AgentSettings(env=own))
        (r.root / "agent.json").write_bytes(msgspec.json.encode(document))
        await r.start()
        await r.hive.until(lambda: r.hive.hellos)
        yield r


def begin(r: Rig) -> "asyncio.Future[Login]":
    return asyncio.ensure_future(r.hive.call(agent.LOGIN_START, Nothing()))


async def give(r: Rig, code: str) -> Login:
    return await r.hive.call(agent.LOGIN_CODE, LoginCode(code=code))


async def login_process(r: Rig) -> int:
    pid_file = r.root / "home" / ".claude" / "login.pid"
    await asyncio.to_thread(eventually, lambda: pid_file.exists() and pid_file.read_text() != "")
    return int(pid_file.read_text())


def is_gone(pid: int) -> bool:
    """Not even a zombie is left of it."""
    return not Path(f"/proc/{pid}").exists()


def secrets_in(r: Rig) -> list[bytes]:
    """Events and log lines that hold the code or what the link carries."""
    lines = [bytes(record.payload) for record in r.hive.records] + r.log().encode().splitlines()
    return [line for line in lines if CODE.encode() in line or b"secret-of-the-link" in line]


def test_claudes_own_login_shows_its_link_and_refuses_a_code_in_words() -> None:
    async def main() -> None:
        nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
        async with rig(AgentSettings(env=nowhere)) as r:
            shown = await begin(r)
            assert shown.state == LoginState.WAITING
            assert trusted_login_url(shown.url)
            cut = await give(r, "half-a-code")
            assert (cut.state, cut.url) == (LoginState.WAITING, shown.url)
            assert "full code" in cut.note
            refused = await give(r, "wrong#code")
            assert refused.state == LoginState.FAILED
            assert "Couldn't log in" in refused.note
            assert refused.url == ""
            assert not (r.root / "home" / ".claude" / ".credentials.json").exists()

    asyncio.run(main())


def test_an_agent_without_a_login_goes_on_by_itself_once_it_has_one() -> None:
    async def main() -> None:
        async with logging_in() as r:
            r.model.script("a", on("", Fail(401, may_retry=False, times=1), Say("Yes.")))
            message = r.hive.mail("one")
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert r.hive.state_of(message) == "queued"
            session = r.hive.reported["session_id"]
            assert (await begin(r)).url == LINK
            assert (await give(r, CODE)).state == LoginState.DONE
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert r.hive.state_of(message) == "acked"
            assert r.hive.inbox[message].envelope.attempt == 1
            assert [end.outcome for end in r.hive.events(TurnEnd)] == [Outcome.NEEDS_LOGIN, Outcome.OK]
            assert (r.hive.reported["needs_login"], r.hive.reported["session_id"]) == (False, session)
            said = [report.login.state for report in r.hive.reports if isinstance(report.login, Login)]
            assert said[-1] == LoginState.DONE
            assert not secrets_in(r)

    asyncio.run(main())


def test_a_login_made_while_a_turn_runs_gives_the_next_turn_a_claude_of_its_own_in_the_same_conversation() -> None:
    async def main() -> None:
        async with logging_in() as r:
            r.model.script("a", on("", Say("Well"), Gate("told"), Say("Yes.")))
            r.hive.mail("one")
            await asyncio.to_thread(r.model.gate("told").wait_reached)
            (before,) = await r.below("--resume") or await r.below("stream-json")
            await begin(r)
            assert (await give(r, CODE)).state == LoginState.DONE
            await asyncio.to_thread(r.model.gate("told").open)
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 1)
            session = r.hive.reported["session_id"]
            r.hive.mail("two")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert before not in await r.below("stream-json")
            assert r.hive.reported["session_id"] == session
            assert all(end.ok for end in r.hive.events(TurnEnd))

    asyncio.run(main())


def test_a_refused_code_leaves_the_agent_waiting_and_says_why_without_the_code() -> None:
    async def main() -> None:
        async with logging_in() as r:
            r.model.script("a", on("", Fail(401, may_retry=False)))
            message = r.hive.mail("one")
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            await begin(r)
            refused = await give(r, "another#code")
            assert refused.state == LoginState.FAILED
            assert refused.note == "Couldn't log in: nobody knows [the code] or [the code], see https://claude.ai/…"
            assert r.hive.reported["needs_login"]
            assert r.hive.state_of(message) == "queued"
            await r.hive.until(lambda: [n for n in r.hive.events(Note) if "the login of claude's failed" in n.text])
            assert (await begin(r)).state == LoginState.WAITING

    asyncio.run(main())


def test_a_code_is_not_told_when_claude_writes_it_in_colours_either() -> None:
    script = (
        rf'echo {LINK}; read -r code; printf "nobody knows %.5s\\033[1m%s\\n" "$code" "${{code#?????}}" >&2; exit 1'
    )

    async def main() -> None:
        async with logging_in(shlex.join(["/bin/sh", "-c", script])) as r:
            await begin(r)
            refused = await give(r, "another#code")
            assert (refused.state, refused.note) == (LoginState.FAILED, "nobody knows [the code]")

    asyncio.run(main())


def test_a_login_survives_a_claude_that_dozes_off_and_ends_with_a_cancel_or_with_the_harness() -> None:
    async def main() -> None:
        async with logging_in() as r:
            r.model.script("a", on("", Fail(401, may_retry=False)))
            first, again = begin(r), begin(r)
            assert await first == await again
            pid = await login_process(r)
            r.hive.mail("one")  # its turn fails, and claude is ended with all that it left
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            await r.hive.until(lambda: r.hive.reported.get("rest") == "dozing")
            assert (await begin(r)).state == LoginState.WAITING
            assert not is_gone(pid)
            assert (await r.hive.call(agent.LOGIN_CANCEL, Nothing())).done
            await r.hive.until(lambda: r.hive.reported["login"].state == LoginState.CANCELLED)
            assert is_gone(pid)
            assert not (await r.hive.call(agent.LOGIN_CANCEL, Nothing())).done
            await begin(r)
            pid = int((r.root / "home" / ".claude" / "login.pid").read_text())
            assert await r.stop() == 0
            assert is_gone(pid)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("/nonexistent/login", "cannot start the login"),
        ("'unbalanced", "cannot start the login: No closing quotation"),
        ("sh -c 'echo no idea >&2; exit 3'", "no idea"),
        ("sh -c 'exit 3'", "it ended with status 3"),
        ("sh -c 'echo https://claude.ai/x; exit 0'", "has stored none"),
        ("sh -c 'head -c 10000000 /dev/zero | tr \"\\0\" x; echo; echo https://claude.ai/late; exit 4'", "xxx"),
    ],
)
def test_a_login_that_cannot_work_says_why(command: str, note: str) -> None:
    async def main() -> None:
        async with logging_in(command) as r:
            begun = await begin(r)
            await r.hive.until(lambda: r.hive.reported["login"].state == LoginState.FAILED)
            assert note in r.hive.reported["login"].note
            assert begun.state in (LoginState.WAITING, LoginState.FAILED)
            assert len(r.hive.reported["login"].note) <= 2000

    asyncio.run(main())


@pytest.mark.parametrize(("code", "kind"), [("two\nlines", FaultKind.INVALID_PARAMS), ("a#b", FaultKind.WRONG_STATE)])
def test_a_code_that_nobody_waits_for_or_that_is_none_is_refused(code: str, kind: FaultKind) -> None:
    async def main() -> None:
        async with logging_in() as r:
            with pytest.raises(FaultError) as refused:
                await give(r, code)
            assert refused.value.kind == kind

    asyncio.run(main())


SILENT = "exec cat"
DEAF = "echo https://claude.ai/x; exec cat > /dev/null"


@pytest.mark.parametrize(
    ("script", "patience", "code", "note"),
    [
        (SILENT, Patience(link_s=0.5), "", "claude showed no link within 0.5 seconds"),
        (DEAF, Patience(check_s=0.1), "a#b", "claude neither took nor refused the code within 0.1 seconds"),
        (DEAF, Patience(whole_s=1.8), "", "it was not finished within 0.03 minutes"),
        (DEAF, Patience(whole_s=1.8), "a#b", "claude neither took nor refused the code within 60 seconds"),
    ],
)
def test_a_login_that_takes_too_long_has_failed_and_its_process_is_gone(
    script: str, patience: Patience, code: str, note: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with logins_of(tmp_path, f"echo $$ > {tmp_path}/pid; {script}", patience) as (hive, logins):
            begun = await logins.start()
            if code:
                assert begun.state == LoginState.WAITING
                await logins.take_code(code)
            await hive.until(lambda: hive.reported.get("login") == Login(state=LoginState.FAILED, note=note))
            assert not logins.cancel()
            pid = int((tmp_path / "pid").read_text())
            await asyncio.to_thread(eventually, lambda: is_gone(pid))

    asyncio.run(main())


def test_a_cancel_that_comes_before_the_link_holds(tmp_path: Path) -> None:
    async def main() -> None:
        async with logins_of(tmp_path, SILENT, Patience()) as (_, logins):
            begun = asyncio.ensure_future(logins.start())
            await asyncio.sleep(0)
            assert logins.cancel()
            assert (await begun).state == LoginState.CANCELLED

    asyncio.run(main())


@asynccontextmanager
async def logins_of(place: Path, script: str, patience: Patience) -> AsyncIterator[tuple[FakeHive, Logins]]:
    """Logins alone, of a harness in this process."""
    async with FakeHive(place / "s").serving() as hive:
        link = Link(hive.socket, Hello(boot_id="a boot of its own"))
        journal = Journal(link, place / "db")
        await journal.open()
        condition = Condition(link, journal, model="haiku", session_id="")
        children = Children()
        children.take_over()
        command = ClaudeCommand(argv=["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"})
        logins = Logins(
            children=children, command=lambda: command, credentials=place / "c", journal=journal,
            condition=condition, on_login=lambda: None, patience=patience,
        )  # fmt: skip
        tasks = [asyncio.create_task(part.run()) for part in (link, journal, condition, logins)]
        try:
            yield hive, logins
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await journal.close()


def test_an_agent_that_never_had_a_login_says_so_before_there_is_mail() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            nothing = {"HYPERHIVE_REHEARSAL_SOCKET": ""}
            r.env = _without_a_model(r.env, nothing)
            await r.start()
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            message = r.hive.mail("one")
            await r.hive.until(lambda: r.hive.reported.get("rest") == "dozing")
            assert r.hive.state_of(message) == "queued"
            assert not r.hive.events(TurnEnd)
            await r.hive.call(agent.PAUSE, Pause(paused=True))

    asyncio.run(main())


def _without_a_model(env: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    return {**env, **changes}
