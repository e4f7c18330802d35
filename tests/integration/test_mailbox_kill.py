"""A hive that is killed in the middle of everything, again and again."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import mail_traffic

KILLS = 20


class Log:
    """What the killed processes had been told before each died."""

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}
        self.got: list[tuple[int, bool]] = []
        self.acked: set[int] = set()
        self.again: list[int] = []
        self.tries = 0

    def read(self, output: str) -> None:
        for line in output.splitlines():
            match line.split():
                case ["sent", mid, number]:
                    assert self.sent.setdefault(mid, int(number)) == int(number)
                case ["got", number, begun]:
                    if int(number) in self.acked:
                        self.again.append(int(number))
                    self.got.append((int(number), begun == "True"))
                case ["acked", number]:
                    self.acked.add(int(number))

    def firsts(self) -> list[str]:
        """For each sender the number it has seen no answer to."""
        done = Counter(mid.partition(":")[0] for mid in self.sent)
        return [str(done[str(sender)]) for sender in range(mail_traffic.SENDERS)]


def start(path: Path, log: Log, what: str) -> subprocess.Popen[str]:
    log.tries += 1
    argv = [sys.executable, mail_traffic.__file__, str(path), f"boot-number-{log.tries}", what, *log.firsts()]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def run_and_kill(path: Path, log: Log, lines: int) -> None:
    """Killed as soon as it has said so many lines: in the middle of whatever it does then."""
    process = start(path, log, "go")
    assert process.stdout is not None
    output = "".join(process.stdout.readline() for _ in range(lines))
    process.send_signal(signal.SIGKILL)
    complete, _, _ = (output + process.stdout.read()).rpartition("\n")
    process.stdout.close()
    process.wait(timeout=20)
    log.read(complete)


@pytest.mark.chaos
def test_nothing_acknowledged_is_lost_or_doubled_over_kills(tmp_path: Path) -> None:
    path, log, chance = tmp_path / "hive.sqlite", Log(), random.Random(os.urandom(8))
    for _ in range(KILLS):
        run_and_kill(path, log, chance.randint(1, 3000))
    drain = start(path, log, "drain")
    assert drain.stdout is not None
    output = drain.stdout.read()
    drain.stdout.close()
    assert drain.wait(timeout=20) == 0
    assert output.endswith("drained\n")
    log.read(output)

    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT id, mid, state, attempts FROM messages").fetchall()
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    stored = {mid: number for number, mid, *_ in rows}
    assert len(stored) == len(rows), "no message is there twice"
    assert log.sent.items() <= stored.items(), "no acknowledged send is lost"
    assert {state for _, _, state, _ in rows} == {"acked"}, "everything was handled in the end"
    assert log.again == [], "what was acknowledged as handled never comes again"
    deliveries = Counter(number for number, _ in log.got)
    marked = Counter(number for number, begun in log.got if begun)
    unmarked = {number for number, count in deliveries.items() if count - marked[number] > 1}
    assert unmarked == set(), "every delivery after the first says so"
    assert {number for number, *_ in rows} == set(deliveries)
