"""A hive that is killed while it writes an applied repository: doing it again is all the repair there is."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from config_house import git
from hyperhive.repos.applied import Applied

WRITER = """
import sys
from pathlib import Path
from hyperhive.repos.applied import Applied
applied, one, other = Applied(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
for turn in range(1000000):
    applied.set_main((one, other)[turn % 2])
    applied.tag(f"{sys.argv[4]}/{turn}", one, "why" if turn % 3 else None)
    print(turn, flush=True)
"""


@pytest.fixture
def applied(tmp_path: Path) -> Applied:
    applied = Applied(tmp_path / "applied")
    applied.create({"agent.toml": b"a\n", "d/one": b"1\n"}, "first")
    return applied


def another(applied: Applied) -> str:
    files: dict[str, bytes | None] = {"agent.toml": b"b\n", "d/one": None, "d2/two": b"2\n", "d": b"a file now\n"}
    return applied.edit(str(applied.main()), files, message="m", author="operator")


def test_a_writer_killed_at_any_point_leaves_what_a_repetition_repairs(applied: Applied) -> None:
    one, other = str(applied.main()), another(applied)
    for life in range(8):
        command = [sys.executable, "-c", WRITER, str(applied.path), one, other, f"life-{life}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(1 + life % 3):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        assert applied.main() in (one, other)
        assert {sha for name, sha in applied.tags().items() if name.startswith("life")} <= {one}
        applied.set_main(other)
        applied.tag(f"after/{life}", other, "it goes on")
        assert git(applied.path, "status", "--porcelain") == ""
        assert (applied.path / "d").read_bytes() == b"a file now\n"
    git(applied.path, "fsck", "--strict")


def test_locks_that_a_killed_hive_left_stop_nothing(applied: Applied) -> None:
    other = another(applied)
    for lock in ("refs/heads/main.lock", "index.lock", "refs/tags/failed/1.lock"):
        (applied.path / ".git" / lock).parent.mkdir(exist_ok=True)
        (applied.path / ".git" / lock).touch()
    applied.set_main(other)
    applied.tag("failed/1", other, "why")
    assert (applied.main(), applied.tags()["failed/1"]) == (other, other)
    assert git(applied.path, "status", "--porcelain") == ""


def test_tags_set_at_once_are_all_there(applied: Applied) -> None:
    main = str(applied.main())
    threads = [threading.Thread(target=applied.tag, args=(f"t/{number % 5}", main, "m")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied.tags()) == ["deployed/0", *(f"t/{number}" for number in range(5))]
