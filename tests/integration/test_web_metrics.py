"""What Prometheus reads of a real daemon, and whether it is true."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import hyperhive
from api_program import Program
from hyperhive.protocol import host
from hyperhive.protocol.events import Outcome
from hyperhive.testing.hive_process import HiveProcess, running_hive
from web_visitor import Visitor

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
TURN = """INSERT INTO turns (agent, incarnation, turn, outcome, started_at, ended_at, input_tokens, output_tokens,
  cache_read_tokens, cache_creation_tokens, cost_usd, tool_calls) VALUES (?, 1, ?, ?, 100, ?, ?, 20, 30, 40, ?, 5)"""


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    with running_hive(dashboard=True) as (hive, _):
        hive.ask(host.Spawn(name="scout"))
        yield hive


def scraped(hive: HiveProcess) -> dict[str, Metric]:
    answer = Program.of(hive, "read").ask("GET", "//metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    (found,) = [sample.value for sample in families[name].samples if sample.labels == labels]
    return found


def documented() -> set[str]:
    return set(re.findall(r"^\| `(hive_\w+)` \|", PAGE.read_text(), re.MULTILINE))


def test_every_metric_is_on_the_page_and_none_that_is_not_there(hive: HiveProcess) -> None:
    families = scraped(hive)
    ours = {family.name + "_total" * (family.type == "counter") for family in families.values()}
    assert {name for name in ours if name.startswith("hive_")} == documented()
    assert {"process_resident_memory_bytes", "process_open_fds", "python_gc_collections"} <= families.keys()


def test_numbers_are_those_of_the_hive_when_it_is_asked(hive: HiveProcess) -> None:
    before = scraped(hive)
    assert value(before, "hive_containers_running") == 1
    assert sum(sample.value for sample in before["hive_agents"].samples) == 1
    hive.send("operator", "to myself")
    hive.ask(host.RequestSpawn(name="later"))
    hive.ask(host.Kill(name="scout"))
    hive.ask(host.Ask(to="scout", question="how far?"))
    after = scraped(hive)
    assert value(after, "hive_agents", state="stopped") == 1
    assert value(after, "hive_containers_running") == 0
    assert value(after, "hive_mail_queued", to="operator") == 1
    assert value(after, "hive_mail_queued", to="scout") == 1  # the question
    assert value(after, "hive_approvals_pending") == 1
    assert value(after, "hive_questions_open") == 1
    assert value(after, "hive_jobs", state="done") == value(before, "hive_jobs", state="done") + 1
    assert value(after, "hive_events_total".removesuffix("_total")) > value(before, "hive_events")
    (build,) = after["hive_build_info"].samples
    assert (build.labels["version"], build.labels["backend"]) == (hyperhive.__version__, "bubblewrap")


def test_streams_are_counted_while_they_are_open(hive: HiveProcess) -> None:
    browser = Visitor.of(hive).log_in(hive)
    with browser.connect() as stream:
        stream.sendall(f"GET /live HTTP/1.1\r\nHost: {browser.host}\r\nCookie: {browser.cookie}\r\n\r\n".encode())
        assert b" 200 OK" in stream.recv(65536)
        assert value(scraped(hive), "hive_dashboard_streams") == 1
    while value(scraped(hive), "hive_dashboard_streams"):
        pass  # the server reads the end of a connection when it comes to it


def test_turns_are_added_up_and_labels_stay_few_whatever_harnesses_say() -> None:
    with running_hive(dashboard=True) as (hive, _):
        hive.ask(host.Spawn(name="scout"))
        hive.ask(host.Kill(name="scout"))
        assert hive.stop() == 0
        with sqlite3.connect(hive.paths.database) as database:
            rows = [("scout", str(n), "ok", 102.5, 10, 0.25) for n in range(4)]
            rows += [("scout", "lies", "failed", 1, -(10**9), -1e9), ("scout", "dear", "failed", 101, 10, 1e308)]
            rows += [("scout", f"odd{n}", f"made-up-{n}", 101, 2**62, 0.5) for n in range(200)]
            rows += [(f"gone{n}", "1", "ok", 101, 10, 0.5) for n in range(200)]
            database.executemany(TURN, rows)
        database.close()
        hive.start()
        families = scraped(hive)
        assert scraped(hive)["hive_turns"] == families["hive_turns"]
        with sqlite3.connect(hive.paths.database) as database:
            database.execute(TURN, ("scout", "late", "ok", 103, 10, 0.25))
        database.close()
        later = scraped(hive)
    late = {name: value(later, name, agent="scout", outcome="ok") for name in ("hive_turns", "hive_turn_seconds")}
    assert late == {"hive_turns": 5, "hive_turn_seconds": 13}
    good = {"agent": "scout", "outcome": "ok"}
    assert value(families, "hive_turns", **good) == 4
    assert value(families, "hive_turn_seconds", **good) == 10
    assert value(families, "hive_turn_cost_usd", **good) == 1
    assert value(families, "hive_turn_tool_calls", **good) == 20
    tokens = [value(families, "hive_turn_tokens", **good, kind=kind) for kind in ("input", "output", "cache_read")]
    assert tokens == [40, 80, 120]
    assert value(families, "hive_turns", agent="scout", outcome="other") == 200
    assert value(families, "hive_turn_cost_usd", agent="scout", outcome="failed") == 1000
    assert value(families, "hive_turn_tokens", agent="scout", outcome="failed", kind="input") == 10
    assert {sample.labels["agent"] for sample in families["hive_turns"].samples} == {"scout"}
    assert {sample.labels["outcome"] for sample in families["hive_turns"].samples} <= {*Outcome, "other"}
