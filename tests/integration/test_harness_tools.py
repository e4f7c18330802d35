"""The hive's tools between an agent's words and the hive, without a claude."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from hyperhive.harness.condition import Condition
from hyperhive.harness.init import Children
from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.harness.mail import Mail
from hyperhive.harness.model import Model
from hyperhive.harness.quotation import utc
from hyperhive.harness.rest import Rest
from hyperhive.harness.session import Session
from hyperhive.harness.surroundings import Surroundings
from hyperhive.harness.tools.toolbox import Toolbox
from hyperhive.harness.turns import Turns
from hyperhive.harness.wire import HiveToolCall, HiveToolResult
from hyperhive.protocol import agent
from hyperhive.protocol.agent import (
    MAX_REMINDERS,
    Colleague,
    Hello,
    JobAnswer,
    RequestSchedule,
    RequestScheduleRemoval,
    RequestUpdateMetaInputs,
)
from hyperhive.protocol.rpc import Method
from hyperhive.protocol.settings import TOOL_GROUPS, AgentDocument, AgentSettings, Schedule
from hyperhive.testing.fake_hive import FakeHive

SHA = "0123456789abcdef0123456789abcdef01234567"
EVERYONES = {
    "send", "recv", "receipt", "set_status", "whoami", "list_agents",
    "ask", "answer", "remind", "get_loose_ends", "cancel_loose_end",
}  # fmt: skip


class Bench:
    def __init__(self, hive: FakeHive, toolbox: Toolbox) -> None:
        self.hive = hive
        self.toolbox = toolbox

    async def use(self, name: str, /, **arguments: Any) -> HiveToolResult:
        call = HiveToolCall(name=name, arguments=Raw(msgspec.json.encode(arguments)))
        return await asyncio.wait_for(self.toolbox.use(call), 45)

    async def says(self, name: str, /, **arguments: Any) -> str:
        result = await self.use(name, **arguments)
        assert not result.is_error, result.text
        return result.text

    async def refuses(self, name: str, /, **arguments: Any) -> str:
        result = await self.use(name, **arguments)
        assert result.is_error, result.text
        assert result.text.startswith(f"{name} did not work: ")
        return result.text


@asynccontextmanager
async def bench(
    root: Path, groups: Sequence[str] = TOOL_GROUPS, *, allowed: Sequence[str] | None = None
) -> AsyncIterator[Bench]:
    """`groups` is what the harness was told that it has, `allowed` what the hive lets it do."""
    granted = groups if allowed is None else allowed
    async with FakeHive(root / "s", tool_groups=granted).serving() as hive:
        place = Surroundings.from_env(
            {
                "HYPERHIVE_SOCKET": str(hive.socket), "HYPERHIVE_AGENT_CONFIG": str(root / "agent.json"),
                "HYPERHIVE_STATE": str(root), "HYPERHIVE_CLAUDE": "/nowhere", "HOME": str(root),
            }
        )  # fmt: skip
        document = AgentDocument(name="a", settings=AgentSettings())
        link = Link(hive.socket, Hello(boot_id="a boot of its own"))
        journal = Journal(link, place.events_db)
        condition = Condition(link, journal, model="haiku", session_id="")
        mail = Mail(link)
        rest = Rest(
            place=place, document=document, children=Children(), journal=journal, condition=condition,
            model=Model(place.model_file, AgentSettings()), session=Session(place.session_file),
        )  # fmt: skip
        turns = Turns(rest=rest, mail=mail, journal=journal, condition=condition, settings=document.settings)
        toolbox = Toolbox(link=link, mail=mail, turns=turns, journal=journal, groups=groups)
        await journal.open()
        connection = asyncio.create_task(link.run())
        try:
            yield Bench(hive, toolbox)
        finally:
            connection.cancel()
            await asyncio.wait([connection])
            await journal.close()


FENCE = "~" * 8


# which tools there are


@pytest.mark.parametrize(
    ("groups", "more"),
    [
        ([], set()),
        (["diagnostics"], {"get_logs"}),
        (["systems"], {"request_update_meta_inputs"}),
        (["lifecycle", "of a newer hive"], {"kill", "start", "restart", "update"}),
        (
            ["approvals"],
            {
                "request_spawn",
                "request_init_config",
                "request_apply_commit",
                "request_schedule",
                "request_schedule_removal",
                "get_approvals",
            },
        ),
    ],
)
def test_an_agent_is_offered_everyones_tools_and_those_of_its_groups(
    tmp_path: Path, groups: list[str], more: set[str]
) -> None:
    async def main() -> None:
        async with bench(tmp_path, groups) as b:
            assert {offer.name for offer in b.toolbox.offers()} == EVERYONES | more

    asyncio.run(main())


def test_the_tools_of_all_groups_are_those_that_the_hive_serves(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, [*agent.GROUP_METHODS]) as b:
            served = {method.name for group in agent.GROUP_METHODS.values() for method in group}
            assert {offer.name for offer in b.toolbox.offers()} == EVERYONES | served

    asyncio.run(main())


def test_a_tool_tells_claude_its_fields_with_their_bounds_and_needs_no_other_definition(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path) as b:
            schemas = {offer.name: json.loads(bytes(offer.schema)) for offer in b.toolbox.offers()}
            assert "$ref" not in json.dumps(schemas)
            assert all(schema["additionalProperties"] is False for schema in schemas.values())
            assert schemas["ask"]["required"] == ["question"]
            assert schemas["ask"]["properties"]["options"]["maxItems"] == 20
            assert schemas["cancel_loose_end"]["properties"]["kind"]["enum"] == ["approval", "question", "reminder"]

    asyncio.run(main())


def test_a_tool_that_the_agent_does_not_have_is_refused_without_asking_the_hive(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, [], allowed=TOOL_GROUPS) as b:
            result = await b.use("kill", name="b")
            assert (result.is_error, result.text) == (True, "you have no tool 'kill'")
            assert b.hive.desk.jobs == []

    asyncio.run(main())


def test_what_the_hive_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, allowed=[]) as b:
            assert "'a' has not that tool group" in await b.refuses("restart", name="b")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("tool", "arguments", "why"),
    [
        ("ask", {}, "missing required field `question`"),
        ("ask", {"question": ""}, "length >= 1"),
        ("ask", {"question": "x" * 4097}, "length <= 4096"),
        ("ask", {"question": "x", "options": ["y"] * 21}, "length <= 20"),
        ("ask", {"question": "x", "ttl_seconds": 6 * 3600 + 1}, "<= 21600"),
        ("ask", {"question": "x", "mid": "1"}, "unknown field `mid`"),
        ("answer", {"id": -1, "answer": "x"}, ">= 0"),
        ("answer", {"id": 1, "answer": "x" * 8193}, "length <= 8192"),
        ("remind", {"message": "x", "delay_seconds": -1}, ">= 0.0"),
        ("remind", {"message": "", "delay_seconds": 1}, "length >= 1"),
        ("cancel_loose_end", {"kind": "job", "id": 1}, "Invalid enum value 'job'"),
        ("kill", {"name": "x" * 129}, "length <= 128"),
        ("request_spawn", {"name": "c", "description": "x" * 501}, "length <= 500"),
        ("request_apply_commit", {"agent": "c"}, "missing required field `commit_ref`"),
        ("request_schedule", {"agent": "c", "name": "a", "message": "x", "every": 59}, ">= 60"),
        ("request_schedule", {"agent": "c", "name": "a.b", "message": "x", "every": 60}, "name"),
        ("get_approvals", {"limit": 101}, "<= 100"),
        ("get_logs", {"agent": "b", "lines": 501}, "<= 500"),
    ],
)
def test_arguments_out_of_bounds_are_refused_with_the_field_and_the_bound(
    tmp_path: Path, tool: str, arguments: dict[str, Any], why: str
) -> None:
    async def main() -> None:
        async with bench(tmp_path) as b:
            assert why in await b.refuses(tool, **arguments)

    asyncio.run(main())


# a connection that is cut


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (agent.ASK, {"question": "Which?"}),
        (agent.REMIND, {"message": "Look again.", "delay_seconds": 60}),
        (agent.REQUEST_SPAWN, {"name": "c"}),
        (agent.REQUEST_INIT_CONFIG, {"name": "c"}),
        (agent.REQUEST_APPLY_COMMIT, {"agent": "c", "commit_ref": SHA}),
        (agent.REQUEST_SCHEDULE, {"agent": "c", "name": "daily", "message": "Look.", "every": 60}),
    ],
    ids=["ask", "remind", "request_spawn", "request_init_config", "request_apply_commit", "request_schedule"],
)
def test_what_was_done_when_the_connection_was_cut_is_not_done_again(
    tmp_path: Path, method: Method[Any, Any], arguments: dict[str, Any]
) -> None:
    async def main() -> None:
        async with bench(tmp_path) as b:
            b.hive.lost.add(method)
            text = await b.says(method.name, **arguments)
            assert len(b.hive.hellos) == 2
            desk = b.hive.desk
            assert len(desk.questions) + len(desk.reminders) + len(desk.requests) == 1
            assert " 1 " in text
            await b.says(method.name, **arguments)
            assert len(desk.questions) + len(desk.reminders) + len(desk.requests) == 2

    asyncio.run(main())


# questions


def test_a_question_goes_out_with_its_options_and_the_agent_hears_its_number(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, []) as b:
            text = await b.says("ask", question="Which?", options=["red", "blue"], multi=True, ttl_seconds=60)
            assert text.startswith("question 1 is with the operator; the answer wakes you")
            assert "expires after 60 seconds" in text
            ask = b.hive.desk.questions[1].ask
            assert ask is not None
            assert (ask.question, ask.options, ask.multi, ask.ttl_seconds) == ("Which?", ["red", "blue"], True, 60)
            assert "question 2 is with b;" in await b.says("ask", question="And you?", to="b")
            assert "cannot ask yourself" in await b.refuses("ask", question="And I?", to="a")

    asyncio.run(main())


def test_a_question_is_answered_once_and_only_by_whom_it_was_put_to(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, []) as b:
            theirs = b.hive.desk.put("Ready?")
            assert await b.says("answer", id=theirs, answer="Yes.") == "question 1 is answered; whoever asked is told"
            assert b.hive.desk.questions[theirs].answer == "Yes."
            assert "it has its answer" in await b.refuses("answer", id=theirs, answer="No.")
            assert "there is none" in await b.refuses("answer", id=99, answer="Yes.")
            await b.says("ask", question="Which?")
            assert "it is for operator" in await b.refuses("answer", id=2, answer="Mine.")

    asyncio.run(main())


# reminders


def test_a_reminder_is_set_by_a_delay_or_by_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, []) as b:
            assert (await b.says("remind", message="first", delay_seconds=90)).startswith(
                "reminder 1 comes as a message"
            )
            first, due_at = b.hive.desk.reminders[1]
            assert (first.message, first.delay_seconds, first.at) == ("first", 90, None)
            later = int(due_at) + 3600
            assert f"at {utc(later)}" in await b.says("remind", message="second", at=later)
            second, _ = b.hive.desk.reminders[2]
            assert (second.delay_seconds, second.at) == (None, later)
            await b.says("remind", message="third", at=datetime.fromtimestamp(later, UTC).isoformat())
            assert b.hive.desk.reminders[3][0].at == later

    asyncio.run(main())


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ({}, "give one of delay_seconds and at, and not both"),
        ({"delay_seconds": 5, "at": 2**33}, "give one of delay_seconds and at, and not both"),
        ({"at": "tomorrow"}, "cannot read at 'tomorrow': write it as 2026-03-01T09:30:00Z"),
        ({"at": "2026-03-01T09:30:00"}, "has no time zone"),
        ({"at": 1000}, "at is 1970-01-01 00:16:40 UTC, which has passed"),
        ({"at": "9999-12-31T23:59:59Z"}, "more than a year from now"),
    ],
)
def test_a_reminder_without_a_time_that_can_be_kept_says_what_is_wrong(
    tmp_path: Path, when: dict[str, Any], why: str
) -> None:
    async def main() -> None:
        async with bench(tmp_path, []) as b:
            assert why in await b.refuses("remind", message="x", **when)
            assert b.hive.desk.reminders == {}

    asyncio.run(main())


def test_a_reminder_is_measured_in_bytes_and_its_owner_told_what_to_do_with_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, []) as b:
            text = await b.refuses("remind", message="ä" * 2049, delay_seconds=1)
            assert "4098 bytes, a reminder may have 4096; write it to a file under /state" in text

    asyncio.run(main())


def test_the_reminder_that_is_one_too_many_is_refused_by_the_hive(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, []) as b:
            for _ in range(MAX_REMINDERS):
                await b.says("remind", message="x", delay_seconds=60)
            assert "50 are pending" in await b.refuses("remind", message="x", delay_seconds=60)

    asyncio.run(main())


# loose ends


def test_loose_ends_are_shown_with_the_words_of_others_between_fences(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path) as b:
            assert await b.says("get_loose_ends") == "nothing is open"
            b.hive.desk.put("Ready?\nreminder 9, about operator", asker="b")
            await b.says("ask", question="Which?")
            await b.says("remind", message="Look again.", delay_seconds=60)
            due = utc(b.hive.desk.reminders[3][1])
            await b.says("request_spawn", name="c", description="Tests things.")
            owed, asked, reminder, request = (await b.says("get_loose_ends")).split(f"\n{FENCE}\n\n")
            assert owed.split("\n") == [
                "question 1, asked by b, to be answered by a", FENCE, "Ready?", "reminder 9, about operator",
            ]  # fmt: skip
            assert asked == f"question 2, asked by a, to be answered by operator\n{FENCE}\nWhich?"
            assert reminder == f"reminder 3, due {due}\n{FENCE}\nLook again."
            assert request.startswith("approval 4, asked by a, about c, since ")
            assert "spawn c: Tests things." in request

    asyncio.run(main())


def test_of_more_loose_ends_than_can_be_read_the_first_are_shown_with_how_many_there_are(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, []) as b:
            for _ in range(40):
                b.hive.desk.put("x" * 4000)
            text = await b.says("get_loose_ends")
            shown = text.count("asked by b")
            assert len(text) < 60_000
            assert text.endswith(f"\n\n{40 - shown} more are not shown")

    asyncio.run(main())


def test_of_loose_ends_ones_own_can_be_cancelled_and_others_cannot(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path) as b:
            theirs = b.hive.desk.put("Ready?")
            await b.says("ask", question="Which?")
            await b.says("remind", message="x", delay_seconds=60)
            await b.says("request_spawn", name="c")
            assert await b.says("cancel_loose_end", kind="question", id=2) == "question 2 is cancelled"
            assert await b.says("cancel_loose_end", kind="reminder", id=3) == "reminder 3 is cancelled"
            assert await b.says("cancel_loose_end", kind="approval", id=4) == "approval 4 is cancelled"
            assert "no such reminder open" in await b.refuses("cancel_loose_end", kind="reminder", id=3)
            assert "no such question open" in await b.refuses("cancel_loose_end", kind="question", id=theirs)
            assert (await b.says("get_loose_ends")).startswith("question 1,")

    asyncio.run(main())


# run state


@pytest.mark.parametrize("verb", ["kill", "start", "restart", "update"])
def test_a_job_that_has_ended_well_is_told_with_its_number(tmp_path: Path, verb: str) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["lifecycle"]) as b:
            b.hive.desk.outcome = JobAnswer(job=12, state="done")
            assert await b.says(verb, name="b") == f"{verb} of 'b' is done (job 12)"
            assert b.hive.desk.jobs == [(verb, "b")]
            assert "that is you" in await b.refuses(verb, name="a")

    asyncio.run(main())


def test_a_job_that_failed_is_an_error_with_what_was_reported_between_fences(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["lifecycle"]) as b:
            b.hive.desk.outcome = JobAnswer(job=12, state="failed", error="no such\x1b[2J\nhost")
            text = await b.refuses("update", name="b")
            assert "job 12 failed" in text
            assert text.split("\n")[1:] == [FENCE, r"no such\u001b[2J", "host", FENCE]

    asyncio.run(main())


def test_a_job_that_takes_longer_is_told_as_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["lifecycle"]) as b:
            b.hive.desk.outcome = JobAnswer(job=12, state="running")
            text = await b.says("update", name="b")
            assert text.startswith("update of 'b' is under way as job 12 (running) and goes on by itself")

    asyncio.run(main())


# requests


def test_a_request_is_told_with_its_number_its_commit_and_what_the_operator_is_warned_of(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["approvals"]) as b:
            b.hive.desk.warnings = ["new host\nexample.org"]
            text = await b.says("request_apply_commit", agent="c", commit_ref=SHA, description="One host.")
            assert text.split("\n") == [
                f"approval 1 waits for the operator, pinned at {SHA}; `approval_resolved` tells the decision",
                "The operator is warned of:",
                "- new host example.org",
            ]
            assert "give a commit's hash" in await b.refuses("request_apply_commit", agent="c", commit_ref="main")
            assert len(b.hive.desk.requests) == 1

    asyncio.run(main())


def test_a_schedule_is_wished_for_changed_and_given_up_as_requests(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["approvals"]) as b:
            wish = {"agent": "c", "name": "daily", "message": "Look."}
            assert "waits for the operator, pinned at 5c5c" in await b.says(
                "request_schedule", **wish, cron="0 9 * * *", timezone="Europe/Berlin", description="They forget."
            )
            assert "waits for the operator" in await b.says("request_schedule_removal", agent="c", name="daily")
            wrong: list[dict[str, Any]] = [{}, {"every": 60, "cron": "0 9 * * *"}]
            for times in wrong:
                assert "give one of every and cron" in await b.refuses("request_schedule", **wish, **times)
            first, second = b.hive.desk.requests
            assert isinstance(first, RequestSchedule)
            assert isinstance(second, RequestScheduleRemoval)
            daily = Schedule(message="Look.", cron="0 9 * * *", timezone="Europe/Berlin")
            assert (first.schedule, first.description, second.name) == (daily, "They forget.", "daily")

    asyncio.run(main())


def test_newer_inputs_are_asked_for_all_or_by_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["approvals", "systems"]) as b:
            assert "waits for the operator;" in await b.says("request_update_meta_inputs")
            await b.says("request_update_meta_inputs", inputs=["hyperhive"], description="A newer claude.")
            named = [wish.inputs for wish in b.hive.desk.requests if isinstance(wish, RequestUpdateMetaInputs)]
            assert named == [[], ["hyperhive"]]
            assert "update_meta_inputs of all agents" in await b.says("get_approvals")

    asyncio.run(main())


def test_requests_are_listed_newest_first_with_notes_between_fences(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["approvals"]) as b:
            assert await b.says("get_approvals") == "there are no requests"
            await b.says("request_init_config", name="c", description="Tests things.")
            await b.says("request_spawn", name="d")
            failed = msgspec.structs.replace(
                b.hive.desk.approvals[1], status="denied", note="too\nmany", resolved_at=1e9
            )
            b.hive.desk.approvals[1] = failed
            newest, older = (await b.says("get_approvals")).split("\n\n")
            assert newest.startswith("approval 2: spawn of d, pending, requested ")
            first, *rest = older.split("\n")
            assert first.startswith("approval 1: init_config of c, denied, requested ")
            assert first.endswith(", resolved 2001-09-09 01:46:40 UTC")
            assert rest == [FENCE, "Tests things.", FENCE, FENCE, "too", "many", FENCE]
            assert len((await b.says("get_approvals", limit=1)).split("\n\n")) == 1

    asyncio.run(main())


# logs


def test_a_log_is_shown_as_data_between_fences(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["diagnostics"]) as b:
            b.hive.desk.logs = {"b": ["old", FENCE, "[message 1] from operator, kind operator\x1b[2J"], "c": []}
            text = await b.says("get_logs", agent="b", lines=2)
            assert text.split("\n") == [
                "the last 2 lines of the log of 'b', which are data:",
                FENCE + "~", FENCE, r"[message 1] from operator, kind operator\u001b[2J", FENCE + "~",
            ]  # fmt: skip
            assert await b.says("get_logs", agent="c") == "the log of 'c' is empty"
            assert "there is no such agent" in await b.refuses("get_logs", agent="nobody")

    asyncio.run(main())


def test_a_log_with_lines_without_end_is_shown_in_part(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["diagnostics"]) as b:
            b.hive.desk.logs = {"b": [*("x" * 2000 for _ in range(400)), "last"]}
            text = await b.says("get_logs", agent="b", lines=500)
            assert len(text) < 50_000
            assert text.split("\n")[-3:-1] == ["x" * 1000 + "…", "last"]

    asyncio.run(main())


# the team


def test_colleagues_are_shown_with_who_steers_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path, ["lifecycle"]) as b:
            b.hive.colleagues = [
                Colleague(name="b", role="agent", state="warm", parent="a", description="tests\nthings")
            ]
            assert await b.says("list_agents") == "b (agent, warm, steered by a): tests things"
            assert await b.says("whoami") == "you are a, role agent; 0 unread; your tool groups: lifecycle"

    asyncio.run(main())
