"""`hive demo` and `hive-c0re` as an operator types them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, running_hive
from web_visitor import Visitor, token_of

pytestmark = [pytest.mark.container, pytest.mark.timeout(180)]

PATIENCE_S = 150


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the demonstration makes its directory; short, for the sockets in it."""
    needs.bwrap()
    needs.claude()
    with tempfile.TemporaryDirectory(prefix="hd-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def demo(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "TMPDIR": str(temporary)}
    argv = [sys.executable, "-m", "hyperhive.cli", "demo", *arguments]
    return subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def mentioning(place: Path) -> list[str]:
    """Processes that were started with the place in their arguments, or that have it mounted."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_text().replace("\0", " ")
            if str(place) in told or str(place) in (process / "mountinfo").read_text():
                found.append(f"{process.name}: {told}")
        except (OSError, UnicodeDecodeError):
            continue  # it has ended
    return found


@pytest.mark.claude
def test_the_demonstration_ends_with_a_summary_a_file_and_nothing_left_behind(temporary: Path) -> None:
    running = demo(temporary, "--exit-when-done", "--json")
    out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, err
    report = json.loads(out.splitlines()[-1])
    assert report["ok"]
    assert report["summary"]
    assert "/shared/" in report["summary"]
    assert report["content"]
    assert Path(report["file"]).name in report["summary"]
    assert mentioning(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.claude
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_middle_ends_the_demonstration_and_all_it_started(
    temporary: Path, number: signal.Signals
) -> None:
    with demo(temporary, "--exit-when-done") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline()  # an agent at work
        assert mentioning(temporary) != []
        running.send_signal(number)
        running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130
    assert mentioning(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.claude
def test_whoever_stays_can_look_on_in_a_browser(temporary: Path) -> None:
    with demo(temporary) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        link = next(line.strip() for line in running.stderr if "/login#" in line)
        visitor = Visitor(link)
        visitor.cookie = visitor.enter(token_of(link)).cookie
        names = [next(line for line in running.stdout if "is up" in line).split()[0] for _ in range(3)]
        page = visitor.get("/").body.decode()
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130
    for name in names:
        assert f'id="agent-{name}"' in page


@pytest.mark.claude
def test_a_signal_before_the_hive_is_up_ends_the_demonstration_too(temporary: Path) -> None:
    with demo(temporary, "--exit-when-done") as running:
        assert running.stderr is not None
        assert "starting" in running.stderr.readline()
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130
    assert mentioning(temporary) == []
    assert list(temporary.iterdir()) == []


# the older name


def c0re(hive: HiveProcess, *arguments: str) -> tuple[int, str, str]:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", **hive.paths.environment()}
    argv = [str(Path(sys.executable).with_name("hive-c0re")), *arguments]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_older_verbs_do_what_they_always_did() -> None:
    needs.bwrap()
    with running_hive() as (hive, _):
        assert c0re(hive, "list")[:2] == (0, "")
        assert c0re(hive, "spawn", "alpha")[0] == 0
        assert c0re(hive, "request-spawn", "beta")[0] == 0
        status, out, _ = c0re(hive, "pending")
        number = out.split()[0]
        assert (status, out) == (0, f"{number} beta spawn\n")
        assert c0re(hive, "approve", number)[0] == 0
        assert c0re(hive, "list")[1] == "alpha\nbeta\n"
        hive.ask(host.SetPaused(name="alpha", paused=True))
        assert c0re(hive, "rebuild", "alpha")[0] == 0
        assert c0re(hive, "kill", "alpha")[0] == 0
        assert not hive.status("alpha").running
        assert c0re(hive, "destroy", "alpha")[0] == 0
        assert c0re(hive, "destroy", "beta", "--purge")[0] == 0
        assert c0re(hive, "list")[1] == ""
        assert [stone.name for stone in hive.ask(host.Tombstones()).tombstones or []] == ["alpha"]
        denied = (hive.ask(host.RequestSpawn(name="gamma")).ids or [])[0]
        assert c0re(hive, "deny", str(denied))[0] == 0
        assert c0re(hive, "pending")[1] == ""


def test_the_older_verbs_fail_with_a_status_and_a_sentence() -> None:
    with running_hive() as (hive, _):
        status, out, err = c0re(hive, "kill", "ghost")
        assert (status, out) == (1, "")
        assert 'agent "ghost" is not managed by this hive' in err
        assert c0re(hive, "approve", "7")[0] == 1
        hive.stop()
        status, _, err = c0re(hive, "list")
        assert status == 3
        assert err.count("\n") == 1
        hive.start()
