"""The commands of the composer, as they are described."""

from pathlib import Path

import pytest

from hyperhive.web.agent_actions import COMMANDS, Command

DOCS = Path(__file__).parents[2] / "docs" / "dashboard.md"


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_a_command_is_described(command: Command) -> None:
    assert f"| `{command.usage}` |" in DOCS.read_text()


def test_what_loses_something_asks_and_says_what_is_lost() -> None:
    asking = {command.name: command.asks for command in COMMANDS if command.asks}
    assert set(asking) == {"new-session"}
    assert "It forgets all that was said so far" in asking["new-session"]
