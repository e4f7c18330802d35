"""A host that is started anew: `before` in one boot, `after` in the next. Run by scripts/vm-test, each by its name."""

import sys
from pathlib import Path

from systemd_units import failed, hive, processes, run, unit_of

UNIT = f"""\
[Unit]
Description=A hive

[Service]
Type=notify
ExecStart={sys.executable} -m hyperhive.cli serve --no-manager --no-dashboard
RuntimeDirectory=hyperhive
RuntimeDirectoryPreserve=yes
StateDirectory=hyperhive
KillMode=mixed
TimeoutStartSec=300

[Install]
WantedBy=multi-user.target
"""
BOOT = Path("/proc/sys/kernel/random/boot_id")
BEFORE = Path("/var/lib/boot-before")


def test_before() -> None:
    Path("/etc/systemd/system/hive-c0re.service").write_text(UNIT)
    run("systemctl", "enable", "--now", "hive-c0re.service")
    hive("spawn", "rover")
    hive("spawn", "idler")
    hive("stop", "idler")
    hive("send", "rover", "are you there?")
    assert processes(unit_of("rover"))
    BEFORE.write_text(BOOT.read_text())


def test_after() -> None:
    """What was wanted runs, what was not does not, and the mail waits."""
    assert BOOT.read_text() != BEFORE.read_text()
    agents = {}
    for _ in range(100):  # each question takes seconds here
        agents = {agent["name"]: agent for agent in hive("list")["agent_statuses"]}
        if agents["rover"]["running"]:
            break
    assert agents["rover"]["running"]
    assert agents["rover"]["unread"] == 1
    assert not agents["idler"]["running"]
    assert processes(unit_of("rover"))
    assert not failed()
