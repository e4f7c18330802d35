"""What the harness keeps in the agent's state."""

import asyncio
import os
import sqlite3
from pathlib import Path

import msgspec
import pytest

from hyperhive.harness.eventlog import KEEP_ROWS, KEEP_SECONDS, EventLog, EventLogError
from hyperhive.harness.model import Model
from hyperhive.harness.onelinefile import OneLineFile
from hyperhive.harness.session import Session
from hyperhive.protocol.events import EventRecord
from hyperhive.protocol.settings import AgentSettings


def records(first: int, count: int, *, ts: float = 2e9) -> list[EventRecord]:
    return [
        EventRecord(seq=seq, ts=ts, kind="note", payload=msgspec.Raw(b'{"kind":"note"}'))
        for seq in range(first, first + count)
    ]


def test_events_come_back_in_order_from_where_they_are_asked_for(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "db")
    log.append(records(1, 10))
    assert [r.seq for r in log.after(4, 3)] == [5, 6, 7]
    assert log.after(4, 1) == records(5, 1)
    log.close()


def test_numbers_go_on_after_reopening_also_when_all_rows_are_gone(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "db")
    log.append(records(1, 10))
    log.close()
    with sqlite3.connect(tmp_path / "db") as db:
        db.execute("delete from events")
    db.close()
    log = EventLog(tmp_path / "db")
    assert log.last == 10
    log.close()


def test_the_newest_rows_are_kept_and_old_ones_go_in_small_steps(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "db")
    for first in range(1, KEEP_ROWS + 3001, 500):
        log.append(records(first, 500))
    left = log.after(0, 2 * KEEP_ROWS)
    assert KEEP_ROWS <= len(left) <= KEEP_ROWS + 1000
    assert left[-1].seq == log.last
    log.close()


def test_what_is_older_than_a_week_goes(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "db")
    log.append(records(1, 100, ts=2e9 - KEEP_SECONDS))
    log.append(records(101, 400, ts=1e9))
    log.append(records(501, 300, ts=4e9))
    assert 101 not in [r.seq for r in log.after(0, 1000)]
    assert log.after(0, 1000)[-1].seq == 800
    log.close()


@pytest.mark.parametrize("companion", ["", "-wal", "-journal"])
def test_a_symlink_in_the_stores_place_is_refused(tmp_path: Path, companion: str) -> None:
    (tmp_path / f"db{companion}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EventLogError, match="symlink"):
        EventLog(tmp_path / "db")
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_in_the_stores_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "db")
    with pytest.raises(EventLogError, match="not a regular file"):
        EventLog(tmp_path / "db")


@pytest.mark.parametrize(
    ("ts", "payload"),
    [(1, b"\xff"), ("soon", "{}"), (b"", "{}"), (1, "{not json"), (1, "{} {}"), (1, "[" * 100_000)],
)
def test_rows_that_the_agent_wrote_make_the_store_unusable(tmp_path: Path, ts: object, payload: object) -> None:
    log = EventLog(tmp_path / "db")
    with sqlite3.connect(tmp_path / "db") as db:
        db.execute("insert into events values(1, ?, 'note', ?)", (ts, payload))
    db.close()
    with pytest.raises(EventLogError, match="cannot read events"):
        log.after(0, 10)
    log.close()


@pytest.mark.parametrize("last", [2**63 - 1, 2**62, "many", b"many"])
def test_numbers_that_are_not_the_harnesss_make_the_store_unusable(tmp_path: Path, last: object) -> None:
    EventLog(tmp_path / "db").close()
    with sqlite3.connect(tmp_path / "db") as db:
        db.execute("insert into sqlite_sequence values('events', ?)", (last,))
    db.close()
    with pytest.raises(EventLogError, match="cannot use"):
        EventLog(tmp_path / "db")


def test_a_line_is_kept_and_read_again(tmp_path: Path) -> None:
    file = OneLineFile(tmp_path / "x", "[a-z]+")
    assert file.read() is None
    file.write("one")
    file.write("two")
    assert file.read() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    file.remove()
    file.remove()
    assert file.read() is None


@pytest.mark.parametrize("content", ["UPPER", "a\nb", "x" * 600, "\x00", "a;b"])
def test_what_is_not_a_line_of_ours_is_not_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(ValueError, match="expected form"):
        OneLineFile(tmp_path / "x", "[a-z]{1,100}").read()


def test_a_symlink_is_neither_read_nor_written(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "x").symlink_to(tmp_path / "secret")
    file = OneLineFile(tmp_path / "x", "[a-z]+")
    with pytest.raises(OSError, match="symbolic links"):
        file.read()
    with pytest.raises(OSError, match="symlink"):
        file.write("other")
    assert (tmp_path / "secret").read_text() == "secret"


def test_the_chosen_model_comes_before_the_configs(tmp_path: Path) -> None:
    assert Model(tmp_path / "m", AgentSettings()).current == "haiku"
    assert asyncio.run(Model(tmp_path / "m", AgentSettings()).choose("opus")).warning == ""
    assert Model(tmp_path / "m", AgentSettings()).current == "opus"


def test_a_model_that_cannot_be_read_is_a_warning_and_the_configs_is_used(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("--dangerous flag\n")
    model = Model(tmp_path / "m", AgentSettings())
    assert model.current == "haiku"
    assert "cannot read the chosen model" in model.warning


def test_a_chosen_model_holds_only_while_the_config_offers_it(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("opus\n")
    assert Model(tmp_path / "m", AgentSettings(available_models=["opus"])).current == "opus"
    model = Model(tmp_path / "m", AgentSettings(model="sonnet", available_models=["haiku"]))
    assert model.current == "sonnet"
    assert "the chosen model opus is none that the config offers" in model.warning


def test_a_session_that_cannot_be_kept_is_still_used(tmp_path: Path) -> None:
    session = Session(tmp_path / "absent" / "s")
    session.is_now("11111111-2222")
    assert session.id == "11111111-2222"
    assert "not kept" in session.warning
    session.forget()
    assert session.id is None
