"""The base: a small Debian with Python and git, made by mmdebstrap from the machine's own sources."""

import asyncio
import contextlib
import shutil
import time
from pathlib import Path
from typing import Any, Final

from hyperhive.containers.spec import HOME, INSIDE_UID
from hyperhive.images.apt import Apt
from hyperhive.images.made import ROOT, Draft, Kind, Made, draft
from hyperhive.images.sources import Sources
from hyperhive.images.workshop import Say, Workshop
from hyperhive.process import PLAIN_ENV

PACKAGES: Final = ("ca-certificates", "dbus", "git", "python3", "systemd", "systemd-sysv")
"""Beside the essential ones. systemd and dbus are for agents with services of their own."""
BUILD_S: Final = 1800.0

_NO_DOCS: Final = (
    *("path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright", "path-exclude=/usr/share/man/*"),
    *("path-exclude=/usr/share/info/*", "path-exclude=/usr/share/locale/*", "force-unsafe-io"),
)
_GONE: Final = (
    *("etc/hostname", "etc/apt/apt.conf.d/99mmdebstrap", "var/lib/dbus/machine-id", "var/cache/ldconfig/aux-cache"),
    *("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"),
)
"""What says where and when it was made, or leads to the network."""
_EMPTIED: Final = (
    "etc/apt/sources.list.d",
    "var/log",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "tmp",
    "run",
)
_POLICY: Final = "#!/bin/sh\n# Services start with the container, never while a package is installed.\nexit 101\n"
_PASSWD: Final = f"agent:x:{INSIDE_UID}:{INSIDE_UID}:agent:{HOME}:/bin/sh\n"


async def build(work: Path, parent: Path, *, apt: Apt, sources: Sources, workshop: Workshop, say: Say) -> Made:
    """In `work`, which is empty. Raises CommandFailed, OSError."""
    began, epoch = time.time(), await asyncio.to_thread(apt.epoch)
    ways = await apt.ways()
    argv = [
        *("mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase"),
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt={option}" for option in _NO_DOCS),
        *(f"--aptopt={line}" for line in ('Acquire::Languages "none";', 'Acquire::Retries "2";', *ways)),
        *(sources.suite, str(work / ROOT), str(apt.sources_file)),
    ]
    env = {**PLAIN_ENV, "SOURCE_DATE_EPOCH": str(epoch), "TMPDIR": str(work), "HOME": str(work)}
    await workshop.outside(argv, env=env, timeout_s=BUILD_S, say=say)
    await say("tidying the base and reading all of it")
    finished = Draft(work=work, epoch=epoch, began=began)
    await asyncio.to_thread(_furnish, finished.root)
    facts = await asyncio.to_thread(_facts, finished.root)
    return await finished.finish(draft(Kind.BASE, suite=sources.suite, **facts), parent)


def _furnish(root: Path) -> None:
    for name in _GONE:
        (root / name).unlink(missing_ok=True)
    for name in _EMPTIED:
        for entry in (root / name).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name in ("var/log/apt", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
        (root / name).mkdir(parents=True)
    (root / "etc/machine-id").write_text("")
    with contextlib.suppress(FileNotFoundError):
        (root / "etc/resolv.conf").unlink()
    (root / "etc/resolv.conf").write_text("")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(_POLICY)
    policy.chmod(0o755)
    for name, line in (("passwd", _PASSWD), ("group", f"agent:x:{INSIDE_UID}:\n"), ("shadow", "agent:!*:::::::\n")):
        with (root / "etc" / name).open("a") as file:
            file.write(line)


def _facts(root: Path) -> dict[str, Any]:
    return {"python": (root / "usr/bin/python3").readlink().name, "packages": installed(root / "var/lib/dpkg/status")}


def installed(status: Path) -> dict[str, str]:
    """Names and versions out of dpkg's own record."""
    found: dict[str, str] = {}
    name = ""
    for line in status.read_text(errors="replace").splitlines():
        if line.startswith("Package: "):
            name = line[9:]
        elif line.startswith("Version: "):
            found[name] = line[9:]
    return found
