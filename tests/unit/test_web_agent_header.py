"""What an agent's header offers and says, by how the agent is."""

import re
from typing import Any

import pytest
from msgspec.structs import replace

from hyperhive.protocol.host import AgentStatusRow, WindowRow
from hyperhive.web.rendering import render

ROW = AgentStatusRow(
    name="scout", running=True, failed=False, needs_update=False, needs_login=False, state="warm", turn_state="idle",
    unread=0,
)  # fmt: skip
VIEW = {
    "name": "scout", "path": "/agents/scout", "row": ROW, "latest": None, "parent": "manager",
    "parent_is_here": False, "model": "haiku", "models": ["haiku"], "context_tokens": 0, "forget": "Forget?",
    "job": None, "is_manager": False, "can_start": False, "can_cancel": False,
}  # fmt: skip


def header(row: dict[str, Any] | None = None, **values: Any) -> str:
    return render("sections/agent_header.html", **{**VIEW, "row": replace(ROW, **(row or {})), **values})


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def buttons(html: str) -> list[str]:
    return re.findall(r'action="[^"]*/([a-z-]+)" hx-post', html)


def test_an_idle_agent_can_be_paused_and_has_no_turn_to_cancel() -> None:
    assert buttons(header()) == [
        "pause", "new-session", "restart", "stop", "rebuild", "destroy", "destroy", "model",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "values", "offered"),
    [
        ({"turn_state": "thinking"}, {"can_cancel": True}, "interrupt"),
        ({"running": False, "state": "stopped"}, {"can_start": True}, "start"),
        ({"paused": True}, {}, "resume"),
        ({"limit": "its usage limit holds it"}, {}, "resume"),
    ],
)
def test_what_can_be_done_follows_from_how_it_is(row: dict[str, Any], values: dict[str, Any], offered: str) -> None:
    assert offered in buttons(header(row, **values))
    assert offered not in buttons(header())


def test_a_stopped_agent_can_be_neither_stopped_nor_restarted() -> None:
    assert not {"stop", "restart"} & set(buttons(header({"running": False})))


def test_whoever_is_kept_down_has_one_way_on_and_says_why() -> None:
    shown = header({"running": False, "state": "no_room", "no_room": "it has too much"}, can_start=True)
    assert [one for one in buttons(shown) if one in ("start", "resume")] == ["resume"]
    assert "it has too much" in words(shown)


def test_the_manager_cannot_be_destroyed() -> None:
    assert "destroy" not in buttons(header(is_manager=True, parent=""))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"needs_login": True}, "log in"),
        ({"limit": "it holds", "limited_until": "2030-01-01T00:00:00Z"}, "usage limit, goes on in"),
        ({"limit": "it held", "limit_asks": True}, "waits for your word"),
        ({"limit": "it held"}, "limit over: goes on in a moment"),
        ({"overloaded_until": "2030-01-01T00:00:00Z"}, "overloaded, tries again in"),
        (
            {"windows": [WindowRow(name="five_hour", percent=93, resets_at="2030-01-01T00:00:00Z")]},
            "five hour 93 % used",
        ),
        ({"unread": 3}, "3 unread"),
        ({"needs_update": True}, "update"),
        ({"failure": "it would not start"}, "it would not start"),
        ({"cost_today_usd": 1.5}, "$1.50 today"),
        ({"role": "manager"}, "manager"),
    ],
)
def test_what_the_operator_must_know_is_said(row: dict[str, Any], said: str) -> None:
    assert said in words(header(row))


def test_a_missing_login_leads_to_where_it_is_made() -> None:
    assert 'href="#agent_login"' in header({"needs_login": True})


def test_an_agent_that_is_gone_leads_to_the_overview() -> None:
    gone = {"name": "scout", "path": "/agents/scout", "row": None}
    kept, lost = (words(render("sections/agent_header.html", **gone, kept=kept)) for kept in (True, False))
    assert "scout was destroyed; its config, login and notes are kept as a tombstone" in kept
    assert "nothing of it was kept" in lost
    assert 'href="/"' in render("sections/agent_header.html", **gone, kept=True)
