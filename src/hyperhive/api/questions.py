"""Questions and reminders."""

from hyperhive.api.answers import DONE, encoded_size
from hyperhive.api.batches import in_batches, newest_within
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response
from hyperhive.protocol.ids import OPERATOR


async def questions(hive: Hive, ask: host.Questions) -> Response:
    all_of = hive.asking.questions
    rows = await (all_of.newest(ask.limit) if ask.all else all_of.unanswered())
    newest = sorted((row.on_wire() for row in rows), key=lambda row: row.id)[-ask.limit :]
    return Response(questions=newest_within(newest, encoded_size)[::-1])


async def ask(hive: Hive, ask: host.Ask) -> Response:
    row = await hive.asking.ask_agent(ask.to, ask.question, ask.options, multi=ask.multi, ttl_s=ask.ttl_seconds)
    return Response(ids=[row.id])


async def answer(hive: Hive, ask: host.Answer) -> Response:
    await hive.asking.questions.answer(ask.id, ask.answer, by=OPERATOR)
    return DONE


async def cancel_question(hive: Hive, ask: host.CancelQuestion) -> Response:
    await hive.asking.questions.cancel(ask.id, by=OPERATOR)
    return DONE


async def reminders(hive: Hive, ask: host.Reminders) -> Response:
    rows = await hive.asking.reminders.pending(ask.name)
    return Response(reminders=list(next(in_batches([row.on_wire() for row in rows], encoded_size), [])))


async def cancel_reminder(hive: Hive, ask: host.CancelReminder) -> Response:
    await hive.asking.reminders.cancel(ask.id, agent=None)
    return DONE
