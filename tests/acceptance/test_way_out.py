"""What an agent of a hive that does not rehearse reaches of the network: its list alone. No turn is played."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import needs
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, eventually

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]

ASK = """python3 -c '
import http.client
c = http.client.HTTPSConnection("127.0.0.1", 3128, timeout=10)
c.set_tunnel("forbidden.example", 443)
try: c.connect()
except OSError as error: print(error)
'; python3 -c '
import socket
try: socket.create_connection(("192.0.2.1", 443), 5)
except OSError as error: print(error.strerror)
'; exit 7
"""


@pytest.fixture
def hive() -> Iterator[HiveProcess]:
    needs.bwrap()
    with tempfile.TemporaryDirectory(prefix="hh-", ignore_cleanup_errors=True) as root:
        hive = HiveProcess(Path(root))
        hive.rehearsing = False
        try:
            yield hive.start()
        finally:
            hive.stop_all()


def in_container(hive: HiveProcess, name: str, script: str) -> subprocess.CompletedProcess[str]:
    shell = hive.ask(host.Shell(name=name)).shell
    assert isinstance(shell, host.ShellCommand)
    return subprocess.run(shell.argv, input=script, capture_output=True, text=True, timeout=60, check=False)


def test_a_forbidden_host_is_refused_and_the_operator_sees_it_also_after_the_daemon_was_killed(
    hive: HiveProcess,
) -> None:
    hive.ask(host.Spawn(name="a"))
    hive.until("a", lambda row: bool(row.active_model))
    done = in_container(hive, "a", ASK)
    assert done.returncode == 7
    assert "403" in done.stdout
    assert "Network is unreachable" in done.stdout
    refusal = hive.events("a", until=lambda event: event.kind == "egress_refused")[-1]
    seen = msgspec.json.decode(refusal.payload)
    assert (seen["host"], seen["port"]) == ("forbidden.example", 443)
    hive.kill()
    hive.start()
    assert "403" in in_container(hive, "a", ASK).stdout


def test_the_way_out_is_there_again_after_its_process_was_killed(hive: HiveProcess) -> None:
    hive.ask(host.Spawn(name="a"))
    hive.until("a", lambda row: bool(row.active_model))
    assert "403" in in_container(hive, "a", ASK).stdout
    (before,) = way_out(hive)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: len(way_out(hive)) == 1 and way_out(hive) != [before])
    eventually(lambda: "403" in in_container(hive, "a", ASK).stdout)


def way_out(hive: HiveProcess) -> list[int]:
    """The pids of this hive's proxy."""
    argv = f"hyperhive.containers.egress_process\0{hive.paths.runtime_dir}/"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if argv.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_the_operators_shell_has_the_agents_home_and_claude(hive: HiveProcess) -> None:
    hive.ask(host.Spawn(name="a"))
    done = in_container(hive, "a", "pwd; id -un; echo $CLAUDE_CONFIG_DIR $HTTPS_PROXY; claude --version\n")
    assert done.stdout.splitlines()[:3] == ["/state", "agent", "/home/agent/.claude http://127.0.0.1:3128"]
    assert "Claude Code" in done.stdout
