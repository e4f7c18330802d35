"""What lies above a container's layers when it starts: a few files that its network and its service manager read."""

import hashlib
from collections.abc import Iterator
from typing import Final

from hyperhive.containers.spec import ContainerSpec, Init

HARNESS_UNIT: Final = "hive-harness.service"
WATCHDOG_S: Final = 60

_MASKED: Final = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("systemd-tmpfiles-clean.timer", "console-getty.service", "getty.target", "systemd-logind.service"),
    *("systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-firstboot.service"),
    *("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-remount-fs.service", "dev-hugepages.mount"),
    *("dev-mqueue.mount", "sys-fs-fuse-connections.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("sys-kernel-config.mount", "proc-sys-fs-binfmt_misc.automount", "systemd-random-seed.service"),
    *("systemd-sysctl.service", "systemd-hwdb-update.service", "ldconfig.service", "systemd-pstore.service"),
    *("systemd-journal-catalog-update.service", "systemd-update-done.service", "systemd-machine-id-commit.service"),
    *("systemd-tmpfiles-setup-dev.service", "modprobe@.service", "systemd-modules-load.service"),
    *("systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service"),
)
_MANAGER: Final = """[Manager]
DefaultTimeoutStopSec=8s
DefaultTimeoutStartSec=30s
LogLevel=info
ShowStatus=no
"""
_JOURNAL: Final = """[Journal]
Storage=persistent
SystemMaxUse=16M
SystemMaxFileSize=4M
RuntimeMaxUse=4M
ForwardToSyslog=no
ForwardToWall=no
"""
# The container ends with its harness, and as it did: to the hive it is one thing that lives or has died.
_HARNESS: Final = """[Unit]
Description=The agent's harness
SuccessAction=exit
FailureAction=exit

[Service]
ExecStart={python} -I -S /run/hive-start/gate.py harness
StandardOutput=append:/run/hive-start/out
StandardError=inherit
User=agent
Group=agent
NoNewPrivileges=yes
CapabilityBoundingSet=
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
ProtectSystem=full
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectControlGroups=yes
InaccessiblePaths=/sys
PrivateMounts=yes
OOMPolicy=continue
Restart=no
{watchdog}

[Install]
WantedBy=multi-user.target
"""


def above_the_layers(spec: ContainerSpec, python: str) -> Iterator[tuple[str, bytes]]:
    """Path inside -> content; one that begins with "->" is a symbolic link."""
    yield "etc/hosts", f"127.0.0.1 localhost {spec.hostname}\n::1 localhost\n".encode()
    yield "etc/hostname", f"{spec.hostname}\n".encode()
    # The same in each life, so that there is one journal, with one bound.
    yield "etc/machine-id", f"{hashlib.sha256(f'{spec.uid} {spec.name}'.encode()).hexdigest()[:32]}\n".encode()
    if spec.init is not Init.SYSTEMD:
        return
    place = "etc/systemd"
    watchdog = f"WatchdogSec={WATCHDOG_S}" if spec.watched else ""
    yield f"{place}/system.conf.d/hive.conf", _MANAGER.encode()
    yield f"{place}/journald.conf.d/hive.conf", _JOURNAL.encode()
    yield f"{place}/system/{HARNESS_UNIT}", _HARNESS.format(python=python, watchdog=watchdog).encode()
    yield f"{place}/system/multi-user.target.wants/{HARNESS_UNIT}", f"->../{HARNESS_UNIT}".encode()
    for unit in _MASKED:
        yield f"{place}/system/{unit}", b"->/dev/null"
