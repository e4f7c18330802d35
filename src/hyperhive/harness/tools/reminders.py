"""Messages of the agent to itself, at a time that it sets."""

import time
from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from hyperhive.harness.quotation import utc
from hyperhive.harness.tools.tool import Hive, Input, Refusal, Tool
from hyperhive.protocol import agent
from hyperhive.protocol.agent import MAX_REMINDER, Remind

YEAR_S: Final = 366 * 86400


class RemindInput(Input):
    message: Annotated[str, Meta(min_length=1, max_length=MAX_REMINDER)]
    delay_seconds: Annotated[Annotated[float, Meta(ge=0, le=YEAR_S)] | None, Meta(description="This, or `at`")] = None
    at: Annotated[
        Annotated[str, Meta(max_length=64)] | Annotated[float, Meta(ge=0, le=2**40)] | None,
        Meta(description="A time with its zone, such as 2026-03-01T09:30:00Z, or Unix seconds"),
    ] = None


class Reminders:
    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="remind", takes=RemindInput, carry_out=self._remind,
                says="Send yourself a message later: after `delay_seconds` or `at` a time. It survives restarts.",
            ),
        ]  # fmt: skip

    async def _remind(self, given: RemindInput) -> str:
        size = len(given.message.encode(errors="replace"))
        if size > MAX_REMINDER:
            raise Refusal(
                f"the message has {size} bytes, a reminder may have {MAX_REMINDER}; "
                "write it to a file under /state and name that file"
            )
        if (given.delay_seconds is None) == (given.at is None):
            raise Refusal("give one of delay_seconds and at, and not both")
        at = None if given.at is None else future(given.at, time.time())
        reminder = await self._hive.call(
            agent.REMIND,
            Remind(mid=self._hive.new_mid(), message=given.message, delay_seconds=given.delay_seconds, at=at),
        )
        return f"reminder {reminder.id} comes as a message at {utc(reminder.due_at)}"


def future(at: str | float, now: float) -> float:
    """The time in Unix seconds; raises Refusal when it can't be read or has passed."""
    seconds = _read(at) if isinstance(at, str) else at
    if seconds <= now:
        raise Refusal(f"at is {utc(seconds)}, which has passed: it is {utc(now)} now")
    if seconds > now + YEAR_S:
        raise Refusal(f"at is {utc(seconds)}, more than a year from now: it is {utc(now)} now")
    return seconds


def _read(text: str) -> float:
    try:
        time_of_day = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Refusal(f"cannot read at {text!r}: write it as 2026-03-01T09:30:00Z, or as Unix seconds") from None
    if time_of_day.tzinfo is None:
        raise Refusal(f"at {text!r} has no time zone: end it with Z for UTC, or with an offset such as +01:00")
    return time_of_day.timestamp()
