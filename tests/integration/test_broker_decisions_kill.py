"""A hive that is killed in the middle of its decisions, again and again."""

import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import decision_traffic

KILLS = 12


def start(folder: Path, what: str) -> subprocess.Popen[str]:
    argv = [sys.executable, decision_traffic.__file__, str(folder), what]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def run_and_kill(folder: Path, lines: int) -> None:
    """Killed as soon as it has said so many lines: in the middle of whatever it does then."""
    process = start(folder, "go")
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def query(folder: Path, text: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / "hive.sqlite")
    rows = connection.execute(text).fetchall()
    connection.close()
    return rows


def check_halfway(folder: Path) -> None:
    """Whatever it was doing: no decision without its job, no end of a job without all that follows."""
    states = query(
        folder,
        "SELECT a.status, j.state, d.sha IS NOT NULL FROM approvals a LEFT JOIN jobs j ON j.approval = a.id"
        " LEFT JOIN deployments d ON d.agent = a.agent AND d.approval = a.id",
    )
    assert set(states) <= {
        ("pending", None, 0), ("approved", "queued", 0), ("approved", "running", 0), ("approved", "done", 1),
        ("failed", "failed", 0),
    }  # fmt: skip


def test_every_decision_is_carried_out_and_told_exactly_once(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(KILLS):
        run_and_kill(tmp_path, chance.randint(1, 25))
        check_halfway(tmp_path)
    last = start(tmp_path, "drain")
    last.communicate(timeout=60)
    assert last.returncode == 0
    check_halfway(tmp_path)

    jobs = query(tmp_path, "SELECT id, approval, state FROM jobs ORDER BY id")
    approvals = query(tmp_path, "SELECT id, mid FROM approvals")
    assert Counter(approval for _, approval, _ in jobs) == dict.fromkeys((number for number, _ in approvals), 1)
    assert {state for _, _, state in jobs} == {"done", "failed"}
    live = query(tmp_path, "SELECT name, deployed_sha FROM agents ORDER BY name")
    newest = query(tmp_path, "SELECT agent, max(sha) FROM deployments GROUP BY agent ORDER BY agent")
    assert live == newest
    told = query(tmp_path, "SELECT body FROM messages WHERE recipient = 'manager' AND sender = 'system'")
    assert Counter(body for (body,) in told) == {f"job {number}": 1 for number, _, _ in jobs}
    reminded = query(tmp_path, "SELECT body FROM messages WHERE sender = 'reminder'")
    settled = query(tmp_path, "SELECT message FROM reminders WHERE outcome = 'sent'")
    assert Counter(reminded) == Counter(settled)
    assert set(Counter(reminded).values()) == {1}
