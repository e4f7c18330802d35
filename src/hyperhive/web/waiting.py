"""What waits for the operator, and the words in which a browser may announce it."""

from dataclasses import dataclass
from typing import Any, Final

from hyperhive.broker.approvals import ApprovalRow
from hyperhive.hub.hive import Hive
from hyperhive.protocol.host import AgentStatusRow
from hyperhive.protocol.ids import OPERATOR
from hyperhive.web.rendering import absolute

LETTERS: Final = 50
DEAD: Final = 20
_WORDS: Final = 160


@dataclass(frozen=True, kw_only=True)
class News:
    """One thing that waits, or is worth knowing. Its tag is the same as long as it is the same thing."""

    kind: str
    tag: str
    title: str
    text: str
    href: str  #: where it is seen


async def waiting(hive: Hive, agents: list[AgentStatusRow]) -> dict[str, Any]:
    """Counts of what waits, and all of it as news. What a usage limit holds goes on by itself, and is news only."""
    approvals = await hive.shape.approvals.pending()
    questions = [row for row in await hive.asking.questions.unanswered() if row.target == OPERATOR]
    letters = [row for row in await hive.mailbox.inbox(OPERATOR, LETTERS) if row.state != "handled"]
    dead = await hive.mailbox.dead_letters(DEAD)
    return {
        "approvals": len(approvals),
        "questions": len(questions),
        "inbox": (await hive.mailbox.unread_counts()).get(OPERATOR, 0),
        "dead": await hive.mailbox.dead_count(),
        "logins": [row.name for row in agents if row.needs_login],
        "failed": [row.name for row in agents if row.failed],
        "news": [
            *(_news("approval", row.id, _wish(row), row.description or "") for row in approvals),
            *(_news("question", row.id, f"{row.asker} asks", row.question) for row in questions),
            *(_news("letter", row.id, f"Mail from {row.sender}", row.body) for row in letters),
            *(_news("dead", row.id, f"Given up: mail to {row.to}", row.body) for row in dead),
            *(news for row in agents for news in _of_agent(row)),
        ],
    }


def _wish(row: ApprovalRow) -> str:
    return f"{row.kind} for {row.agent or 'all agents'}"


def _news(kind: str, number: int, title: str, text: str) -> News:
    place = f"{kind}-{number}"
    return News(kind=kind, tag=f"news-{place}", title=title.replace("_", " "), text=text[:_WORDS], href=f"/#{place}")


def _of_agent(row: AgentStatusRow) -> list[News]:
    page = f"/agents/{row.name}"
    told = [
        ("login", row.needs_login, f"{row.name} needs a login", "Its messages wait until it has one.", "#agent_login"),
        ("no-room", row.no_room, f"{row.name} is kept down for want of room on the disk", row.no_room, ""),
        ("failed", row.failed, f"{row.name} failed", row.failure, ""),
        ("stuck", row.stuck, f"{row.name} is stuck: {row.stuck}", row.stuck_note, ""),
        ("budget", row.over_budget, f"The budget of {row.name} is spent", row.over_budget, "#agent_budget"),
        ("limited", row.limit, f"{row.name} is held by a usage limit", _until(row), ""),
    ]
    return [
        News(kind=kind, tag=f"news-{kind}-{row.name}", title=title, text=str(text or "")[:_WORDS], href=page + anchor)
        for kind, there, title, text, anchor in told
        if there
    ]


def _until(row: AgentStatusRow) -> str:
    if row.limit_asks:
        return "It is over, and your word is waited for."
    return f"until {absolute(row.limited_until)}" if row.limited_until else "It is over."
