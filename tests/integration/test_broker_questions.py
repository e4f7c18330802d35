import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from broker_house import House, failing_at, play
from hyperhive.broker.notices import MAX_OWED, Notice
from hyperhive.broker.questions import BURST, MAX_UNANSWERED, Party, QuestionRow
from hyperhive.protocol.faults import FaultError, FaultKind

OPERATOR = Party(name="operator", incarnation=0)
SCOUT = Party(name="scout", incarnation=1)
GUARD = Party(name="guard", incarnation=2)


async def asked(house: House, asker: Party = SCOUT, target: Party = OPERATOR, **more: object) -> QuestionRow:
    return await house.questions.ask(asker, target, "what now?", **more)  # type: ignore[arg-type]  # by name


async def told(house: House) -> list[tuple[str, dict[str, object]]]:
    """Who is owed which event."""
    return [(recipient, json.loads(body)) for recipient, body in await house.owed()]


async def closed(house: House, *ids: int) -> list[QuestionRow]:
    """These questions, once all of them are answered."""
    async with asyncio.timeout(20):
        while True:
            rows = [row for row in await house.questions.newest() if row.id in ids]
            if all(row.answered_at is not None for row in rows):
                return sorted(rows, key=lambda row: row.id)
            await house.settled()


def test_an_agent_asks_the_operator_and_the_answer_comes_as_an_event(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        changes: list[QuestionRow] = []
        house.questions.on_change = changes.append
        question = await asked(house, options=["go on", "stop"], multi=True)
        assert await house.questions.unanswered() == [question]
        assert await house.owed() == []
        answer = await house.questions.answer(question.id, "go on, slowly", by="operator")
        assert (answer.answer, answer.answerer, answer.answered_at) == ("go on, slowly", "operator", house.clock.now())
        event = {
            "event": "question_answered", "id": question.id, "question": "what now?", "answer": "go on, slowly",
            "answerer": "operator",
        }  # fmt: skip
        assert await told(house) == [("scout", event)]
        assert await house.questions.unanswered() == []
        assert changes == [question, answer]

    play(tmp_path, scene)


def test_an_agent_that_is_asked_is_told_the_question(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        question = await asked(house, target=GUARD, options=["left", "right"])
        event = {
            "event": "question_asked", "id": question.id, "asker": "scout", "question": "what now?",
            "options": ["left", "right"], "multi": False,
        }  # fmt: skip
        assert await told(house) == [("guard", event)]
        assert [row.id for row in await house.questions.of("guard")] == [question.id]
        assert [row.id for row in await house.questions.of("scout")] == [question.id]

    play(tmp_path, scene)


def test_the_operator_is_answered_in_words(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        question = await asked(house, asker=OPERATOR, target=GUARD)
        await house.questions.answer(question.id, "left", by="guard")
        recipient, body = (await house.owed())[-1]
        assert recipient == "operator"
        assert body == "guard answered question 1 to 'guard': left\n(You asked: what now?)"

    play(tmp_path, scene)


def test_events_reach_the_life_that_asked_and_no_later_one(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("scout", 9)
        question = await asked(house)
        await house.questions.answer(question.id, "too late", by="operator")
        second = await asked(house, asker=Party(name="scout", incarnation=9))
        await house.questions.answer(second.id, "in time", by="operator")
        async with house.delivering():
            (mail,) = await house.inbox("scout", 1)
        assert json.loads(mail.body)["answer"] == "in time"

    play(tmp_path, scene)


def test_only_the_one_who_was_asked_and_the_operator_answer(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, second = await asked(house, target=GUARD), await asked(house, target=GUARD)
        for stranger in ("scout", "manager", ""):
            with pytest.raises(FaultError, match="only 'guard' and the operator can") as refused:
                await house.questions.answer(first.id, "mine", by=stranger)
            assert refused.value.kind is FaultKind.NOT_ALLOWED
        await house.questions.answer(first.id, "left", by="guard")
        await house.questions.answer(second.id, "right", by="operator")
        with pytest.raises(FaultError, match="guard has answered it already") as late:
            await house.questions.answer(first.id, "no, right", by="operator")
        assert late.value.kind is FaultKind.WRONG_STATE
        with pytest.raises(FaultError) as unknown:
            await house.questions.answer(99, "x", by="operator")
        assert unknown.value.kind is FaultKind.UNKNOWN_QUESTION

    play(tmp_path, scene)


def test_an_answer_that_is_given_again_is_the_same_answer_and_tells_nobody(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        question = await asked(house, target=GUARD)
        first = await house.questions.answer(question.id, "left", by="guard")
        changes: list[QuestionRow] = []
        house.questions.on_change = changes.append
        assert await house.questions.answer(question.id, "left", by="guard") == first
        for text, by in (("right", "guard"), ("left", "operator")):
            with pytest.raises(FaultError) as refused:
                await house.questions.answer(question.id, text, by=by)
            assert refused.value.kind is FaultKind.WRONG_STATE
        assert [event["event"] for _, event in await told(house)] == ["question_asked", "question_answered"]
        assert changes == []

    play(tmp_path, scene)


def test_two_answers_at_once_are_one_answer_and_one_message(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        question = await asked(house, target=GUARD)
        outcomes = await asyncio.gather(
            house.questions.answer(question.id, "left", by="guard"),
            house.questions.answer(question.id, "right", by="operator"),
            house.questions.cancel(question.id, by="scout"),
            return_exceptions=True,
        )
        assert [isinstance(outcome, FaultError) for outcome in outcomes] == [False, True, True]
        assert [event["event"] for _, event in await told(house)] == ["question_asked", "question_answered"]

    play(tmp_path, scene)


def test_the_asker_takes_a_question_back_and_the_operator_ends_any(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, second = await asked(house), await asked(house)
        with pytest.raises(FaultError, match="only 'scout' and the operator can"):
            await house.questions.cancel(first.id, by="guard")
        own = await house.questions.cancel(first.id, by="scout")
        others = await house.questions.cancel(second.id, by="operator")
        assert (own.answer, others.answer) == ("[cancelled by scout]", "[cancelled]")
        assert [(to, event["id"], event["answer"]) for to, event in await told(house)] == [
            ("scout", second.id, "[cancelled]")
        ]

    play(tmp_path, scene)


def test_a_question_that_nobody_answers_in_time_expires(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        late, early, endless = await asked(house, ttl_s=60), await asked(house, ttl_s=10), await asked(house)
        assert house.clock.waits == 1
        house.clock.advance(9.9)
        assert len(await house.questions.unanswered()) == 3
        house.clock.advance(0.1)
        (row,) = await closed(house, early.id)
        assert (row.answer, row.answerer) == ("[expired]", "ttl-watchdog")
        house.clock.advance(50)
        await closed(house, late.id)
        assert [row.id for row in await house.questions.unanswered()] == [endless.id]
        assert [event["id"] for _, event in await told(house)] == [early.id, late.id]
        assert house.clock.waits == 0

    play(tmp_path, scene)


def test_a_question_expires_also_while_the_hive_is_away(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        for _ in range(130):  # more than one transaction settles
            await asked(house, asker=Party(name=f"scout-{_}", incarnation=1), ttl_s=10)
        await asked(house, ttl_s=100)
        house.questions.close()
        house.clock.advance(20)

    async def after(house: House) -> None:
        house.clock.advance(0)
        async with asyncio.timeout(20):
            while len(await house.questions.unanswered()) > 1:
                await house.settled()
                house.clock.advance(0)
        assert len(await house.owed()) == 130
        house.clock.advance(80)
        await closed(house, 131)

    play(tmp_path, before, after)


def test_an_answered_question_does_not_expire(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        question = await asked(house, ttl_s=10)
        await house.questions.answer(question.id, "yes", by="operator")
        house.clock.advance(20)
        await house.settled()
        (row,) = await house.questions.newest()
        assert row.answer == "yes"

    play(tmp_path, scene)


def test_asking_again_with_the_same_mid_is_one_question(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first = await asked(house, target=GUARD, mid="m1")
        again = await asked(house, target=GUARD, mid="m1")
        other_life = await asked(house, asker=Party(name="scout", incarnation=5), target=GUARD, mid="m1")
        assert again == first
        assert other_life.id != first.id
        assert len(await house.owed()) == 2

    play(tmp_path, scene)


def test_what_makes_no_sense_to_ask_is_refused(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for call in (asked(house, ttl_s=0), asked(house, ttl_s=6 * 3600 + 1), asked(house, target=SCOUT)):
            with pytest.raises(FaultError) as refused:
                await call
            assert refused.value.kind is FaultKind.INVALID_PARAMS
        assert await house.questions.newest() == []

    play(tmp_path, scene)


def test_so_many_questions_of_one_asker_wait(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for number in range(MAX_UNANSWERED):
            await asked(house, mid=f"{number}")
        with pytest.raises(FaultError, match="wait for answers, or cancel some") as refused:
            await asked(house)
        assert refused.value.kind is FaultKind.WRONG_STATE
        assert (await asked(house, mid="0")).id == 1
        await asked(house, asker=GUARD)
        await house.questions.answer(1, "yes", by="operator")
        await asked(house)

    play(tmp_path, scene)


def test_what_a_destroyed_agent_asked_and_owed_is_ended_and_those_who_asked_it_know(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        own, owed = await asked(house), await asked(house, asker=GUARD, target=SCOUT)
        other = await asked(house, asker=Party(name="scout", incarnation=8))
        ended = await house.questions.forget("scout", 1, "[cancelled: scout was destroyed]")
        assert [row.id for row in ended] == [own.id, owed.id]
        assert {row.answer for row in ended} == {"[cancelled: scout was destroyed]"}
        assert [to for to, event in await told(house) if event["event"] == "question_answered"] == ["guard"]
        assert [row.id for row in await house.questions.unanswered()] == [other.id]

    play(tmp_path, scene)


def test_the_longest_question_and_answer_fit_into_a_message(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("scout", 1)
        await house.mailbox.register("guard", 2)
        question = await house.questions.ask(SCOUT, GUARD, "\x01" * 4096, ["\x01" * 200] * 20)
        await house.questions.answer(question.id, "\x01" * 8192, by="guard")
        async with house.delivering():
            (there,) = await house.inbox("guard", 1)
            (back,) = await house.inbox("scout", 1)
        assert json.loads(there.body)["question"] == "\x01" * 4096
        assert json.loads(back.body)["answer"] == "\x01" * 8192

    play(tmp_path, scene)


@pytest.mark.parametrize(("table", "event"), [("notices", "INSERT"), ("questions", "UPDATE")])
def test_an_answer_and_its_message_are_stored_together_or_not_at_all(tmp_path: Path, table: str, event: str) -> None:
    async def broken(house: House) -> None:
        question = await asked(house)
        await house.database.write(failing_at(table, event))
        with pytest.raises(Exception, match="refused by the test"):
            await house.questions.answer(question.id, "yes", by="operator")

    async def after(house: House) -> None:
        assert len(await house.questions.unanswered()) == 1
        assert await house.owed() == []

    play(tmp_path, broken, after)


def test_a_question_on_the_wire_leaves_out_what_is_not_there(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        question = await asked(house, options=["a\ud800"])
        assert msgspec.to_builtins(question.on_wire()) == {
            "id": 1, "asker": "scout", "target": "operator", "question": "what now?", "options": ["a?"],
            "multi": False, "asked_at": "2023-11-14T22:13:20.000Z",
        }  # fmt: skip

    play(tmp_path, scene)


def test_old_answers_go_and_open_questions_stay(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, second = await asked(house), await asked(house)
        await house.questions.answer(first.id, "yes", by="operator")
        house.clock.advance(10)
        assert await house.questions.vacuum(house.clock.now()) == 1
        assert await house.questions.get(first.id) is None
        assert await house.questions.get(second.id) == second

    play(tmp_path, scene)


def test_an_agent_that_asks_without_end_is_slowed_down_and_the_operator_is_not(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for asker in (OPERATOR, SCOUT):
            for _ in range(BURST):
                await house.questions.cancel((await asked(house, asker, GUARD)).id, by=asker.name)
        await asked(house, OPERATOR, GUARD)
        with pytest.raises(FaultError, match=r"try again in 1\.00 s") as refused:
            await asked(house)
        assert refused.value.kind is FaultKind.TOO_FAST
        house.clock.advance(1)
        await asked(house)

    play(tmp_path, scene)


def test_what_an_agent_asks_fills_the_outbox_only_so_far(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for number in range(MAX_OWED):
            await house.notices.add(Notice(recipient="guard", body=f"{number}"))
        with pytest.raises(FaultError) as refused:
            await asked(house, target=GUARD)
        assert refused.value.kind is FaultKind.INBOX_FULL
        await asked(house)

    play(tmp_path, scene)


def test_question_and_answer_are_delivered_while_the_hive_runs(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("scout", 1)
        await house.mailbox.register("guard", 2)
        async with house.delivering():
            question = await asked(house, target=GUARD)
            await house.inbox("guard", 1)
            await house.questions.answer(question.id, "left", by="guard")
            (mail,) = await house.inbox("scout", 1)
        assert json.loads(mail.body)["answer"] == "left"

    play(tmp_path, scene)
