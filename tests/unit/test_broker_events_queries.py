"""However much was told, who reads an agent's history looks at what is shown and at nothing else."""

import re
import sqlite3

import pytest

from hyperhive.broker.database import migrations
from hyperhive.broker.sql import Queries


def plan(name: str) -> list[str]:
    database = sqlite3.connect(":memory:")
    for _, text in migrations():
        database.executescript(text)
    query = Queries("events")[name]
    values = dict.fromkeys(re.findall(r":(\w+)", query), 1)
    steps = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    database.close()
    return steps


@pytest.mark.parametrize("name", ["before_of", "lasting_after_of"])
def test_history_does_not_look_at_pieces_of_texts(name: str) -> None:
    assert any("events_lasting" in step for step in plan(name))
    assert not any("TEMP B-TREE" in step for step in plan(name)), "it is read in its order"


@pytest.mark.parametrize(
    "name", ["seen", "after_of", "latest_of", "told_of", "last_to_go", "last_passing_to_go", "next_passing_to_go"]
)
def test_what_is_asked_of_an_agent_looks_at_no_other(name: str) -> None:
    assert not any(step.startswith("SCAN events") for step in plan(name)), plan(name)
