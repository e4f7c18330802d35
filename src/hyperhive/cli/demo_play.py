"""A scenario played in a running hive: agents spawned, the opening sent, what happens shown, the ending waited for."""

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hyperhive.cli import mail_rows
from hyperhive.cli.output import CliError
from hyperhive.cli.row import STYLES, Row
from hyperhive.cli.rows import rows
from hyperhive.cli.safe import headline, one_line
from hyperhive.client import Client
from hyperhive.config.beneath import read_beneath
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent, Note, Stream, TurnEnd, TurnStart, live_event
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, OPERATOR
from hyperhive.rehearsal.script import ANYONE, Agent, Opening, Script
from hyperhive.terminal.row import Kind

MAX_FILE: Final = 64 * 1024
_SHARED_FILE: Final = re.compile(r"/shared/([A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9])")
_TELLING: Final = (STYLES[Kind.TOOL], STYLES[Kind.WARNING], STYLES[Kind.TROUBLE])
"""Styles of the rows that are shown of claude's own output: calls, and what failed."""

Show = Callable[[str, Row], None]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The summary that the operator got and the file that it names."""

    summary: host.InboxRow
    file: Path | None
    content: str


async def play(client: Client, script: Script, shared: Path, show: Show, *, timeout_s: float) -> Ending:
    """Raises CliError when the ending does not come in time."""
    if script.opening is None:
        raise CliError("cannot demonstrate this script: it has no opening message")
    stage = _Stage(client=client, show=show)
    try:
        async with asyncio.timeout(timeout_s):
            summary = await stage.play(script, script.opening)
    except TimeoutError:
        raise CliError(f"the summary did not come within {timeout_s:.0f} seconds") from None
    path, content = await asyncio.to_thread(find_file, summary.body, shared)
    return Ending(summary=summary, file=path, content=content)


@dataclass(frozen=True, kw_only=True)
class _Stage:
    client: Client
    show: Show
    mail: asyncio.Event = field(default_factory=asyncio.Event)  #: something came for the operator

    async def play(self, script: Script, opening: Opening) -> host.InboxRow:
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.gather(*(self._spawn(agent) for agent in script.agents))
            self.show(OPERATOR, Row(text=f"→ send → {opening.to} · {headline(opening.body)}", style="bold"))
            sent = await self.client.call(host.Send(to=opening.to, body=opening.body))
            return await self._ending(max(sent.ids or [0]), script.ending)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        async with aclosing(self.client.events(host.Watch(), on_lost=lambda _: None)) as events:
            async for event in events:
                if mail_rows.is_mail_to(OPERATOR, event):
                    self.mail.set()
                for row in essence(event):
                    self.show(event.agent, row)

    async def _spawn(self, agent: Agent) -> None:
        if agent.name in (ANYONE, MANAGER):
            return
        try:
            await self.client.call(host.Spawn(name=agent.name, description=agent.description))
        except FaultError as fault:
            if fault.kind is not FaultKind.NAME_TAKEN:  # a directory that was used before has its agents
                raise
            await self.client.call(host.Start(scope=host.LifecycleScope(agent_names=[agent.name])))
        self.show(agent.name, Row(text=f"· is up: {one_line(agent.description, 100)}", style="dim"))

    async def _ending(self, opening: int, sender: str) -> host.InboxRow:
        """The first message after the opening from the one whose message ends the scenario."""
        while True:
            self.mail.clear()
            mail = await self.client.call(host.Inbox(limit=200))
            for row in mail.inbox or []:
                if row.id > opening and sender in ("", row.sender):
                    return row
            await self.mail.wait()


def essence(event: HiveEvent) -> list[Row]:
    """Who wakes, who does what, who writes to whom, and what goes wrong, a line each."""
    live = live_event(event.payload)
    match live:
        case TurnStart():
            return rows(event)[:1]
        case Stream() | Note():
            return [row for row in rows(event)[:8] if row.style in _TELLING]
        case TurnEnd(ok=False):
            return rows(event)
        case _:
            return []


def find_file(summary: str, shared: Path) -> tuple[Path | None, str]:
    """The first file in the shared directory that the summary names, and its beginning: both are agents' work."""
    for name in _SHARED_FILE.findall(summary)[:20]:
        try:
            content = read_beneath(shared, name, MAX_FILE)
        except OSError:
            continue
        return shared / name, content.decode(errors="replace")
    return None, ""
