"""The harness's state as the operator sees it, reported when it changes and after each reconnect."""

import asyncio
import time

from msgspec import UNSET, structs

from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.harness.log import say
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Auth, Login, Report, Welcome, Window
from hyperhive.protocol.events import ModelChanged, Rest, TokenUsageChanged, TurnState, TurnStateChanged
from hyperhive.protocol.faults import FaultError


class Condition:
    def __init__(self, link: Link, journal: Journal, *, model: str, session_id: str) -> None:
        self._link = link
        self._journal = journal
        self._now = Report(
            turn_state=TurnState.IDLE, rest=Rest.DOZING, model=model, session_id=session_id, needs_login=False,
            limited_until=0.0, overloaded_until=0.0, context_tokens=UNSET,
        )  # fmt: skip
        self._unsaid = Report()
        self._usage = TokenUsageChanged(context_tokens=0)
        self._news = asyncio.Event()
        link.on_welcome.append(self._say_all)

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            unsaid, self._unsaid = self._unsaid, Report()
            try:
                await self._link.insist(agent.REPORT, lambda _, report=unsaid: report)  # type: ignore[misc]
            except FaultError as fault:
                say(f"the hive refuses a report of the harness's state: {fault.message}")

    def turn(self, state: TurnState) -> None:
        self._change_state(Report(turn_state=state))

    def rest(self, rest: Rest) -> None:
        self._change_state(Report(rest=rest))

    def model(self, model: str) -> None:
        if self._change(Report(model=model)):
            self._journal.record(ModelChanged(model=model))

    def session(self, session_id: str) -> None:
        self._change(Report(session_id=session_id))

    def needs_login(self, needed: bool) -> None:
        self._change(Report(needs_login=needed))

    @property
    def lacks_login(self) -> bool:
        return self._now.needs_login is True

    @property
    def is_barred(self) -> bool:
        """Whether a login, a usage limit or a model that does not answer is in claude's way."""
        return self.lacks_login or bool(self._now.limited_until) or bool(self._now.overloaded_until)

    def login(self, login: Login) -> None:
        """The latest login, at every step of it."""
        self._change(Report(login=login))

    def limited(self, until: float) -> None:
        """A usage limit holds the agent until then, Unix seconds; 0: none does."""
        self._change(Report(limited_until=until))

    @property
    def usage(self) -> TokenUsageChanged:
        """How long the conversation is, as far as it is known."""
        return self._usage

    def overloaded(self, until: float) -> None:
        """The model did not answer; it is tried again then, Unix seconds. 0: it answers."""
        self._change(Report(overloaded_until=until))

    def windows(self, windows: list[Window]) -> None:
        """How much of the account is used."""
        self._change(Report(windows=windows))

    def auth(self, auth: Auth) -> None:
        """How claude gets in."""
        self._change(Report(auth=auth))

    def context(self, tokens: int, window: int) -> None:
        self._change(Report(context_tokens=tokens))
        usage = TokenUsageChanged(context_tokens=tokens, context_window=window)
        if usage != self._usage:
            self._usage = usage
            self._journal.record(usage)

    def _change_state(self, report: Report) -> None:
        if self._change(report):
            state, rest = str(self._now.turn_state), str(self._now.rest)
            self._journal.record(TurnStateChanged(state=state, rest=rest, since=time.time()))

    def _change(self, report: Report) -> bool:
        changed = {name: value for name, value in _set(report).items() if getattr(self._now, name) != value}
        if changed:
            self._now = structs.replace(self._now, **changed)
            self._unsaid = structs.replace(self._unsaid, **changed)
            self._news.set()
        return bool(changed)

    def _say_all(self, _: Welcome) -> None:
        self._unsaid = self._now
        self._news.set()


def _set(report: Report) -> dict[str, object]:
    return {name: value for name, value in structs.asdict(report).items() if value is not UNSET}
