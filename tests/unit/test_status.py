"""An agent's row as clients see it."""

import pytest
from msgspec import UNSET

from hyperhive.broker.roster import AgentRow, Wanted
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.status import status_row
from hyperhive.protocol.agent import Window
from hyperhive.protocol.backend import BackendKind


def agent() -> Agent:
    row = AgentRow(
        name="x", incarnation=1, role="agent", uid=None, wanted=Wanted.UP, paused=False, description="", model="",
        failure="", asleep=False, deployed_sha="", session_id="", context_tokens=0, status_text="",
        status_set_at=None, needs_login=False, created_at=0.0, destroyed_at=None, parent="", built_with="",
        limited_until=0.0, limited_by="", limited_for="", backend=BackendKind.BUBBLEWRAP,
    )  # fmt: skip
    return Agent(row=row, phase=Phase.RUNNING)


@pytest.mark.parametrize(("now", "state"), [(99.0, "overloaded"), (100.0, "dozing"), (101.0, "dozing")])
def test_an_overload_is_shown_until_the_model_is_tried_again(now: float, state: str) -> None:
    one = agent()
    one.overloaded_until = 100.0
    row = status_row(one, 0, now=now)
    assert row.state == state
    assert (row.overloaded_until is UNSET) is (now >= 100.0)


def test_a_window_that_has_ended_is_not_shown() -> None:
    one = agent()
    one.windows = (Window(name="five_hour", utilization=0.9, resets_at=100.0),)
    assert status_row(one, 0, now=99.0).windows
    assert status_row(one, 0, now=100.0).windows is UNSET
