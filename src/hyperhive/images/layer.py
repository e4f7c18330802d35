"""A layer of packages on a base. What packages bring to be executed is executed in a container without network."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hyperhive.images.apt import FRESH_S, Apt, Package
from hyperhive.images.made import MAKING, ROOT, Draft, Kind, Made, draft
from hyperhive.images.workshop import FIRST_UID, Say, Workshop
from hyperhive.process import PLAIN_ENV, CommandFailed

BUILD_S: Final = 1800.0
_DEBS: Final = "/run/debs"
_INSTALL: Final = """
set -e
apt-get -qq -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    install -y --no-install-recommends --allow-downgrades -- "$@"
rm -rf /var/log/apt/* /var/log/*.log /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old \
    /var/cache/ldconfig/aux-cache /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /run/*.pid
"""
"""The names of files are its arguments, and no text of it."""


def id_of(base: str, names: Sequence[str]) -> str:
    """The same packages on the same base are the same layer, whoever wants it."""
    return hashlib.sha256("\n".join((str(MAKING), base, *sorted(set(names)))).encode()).hexdigest()[:12]


async def build(
    work: Path, parent: Path, names: Sequence[str], *, base: Made, apt: Apt, workshop: Workshop, say: Say
) -> Made:
    """In `work`, which is empty. Raises CommandFailed, FaultError, OSError."""
    began = time.time()
    packages = await _fetch(sorted(set(names)), base.root / "var/lib/dpkg/status", apt, say)
    epoch = await asyncio.to_thread(apt.epoch)
    await say(f"installing {len(packages)} packages: {', '.join(package.name for package in packages)}")
    debs = work / "debs"
    await asyncio.to_thread(_lay_out, debs, packages)
    finished = Draft(work=work, epoch=epoch, began=began, shift=FIRST_UID)
    env = {**PLAIN_ENV, "DEBIAN_FRONTEND": "noninteractive", "SOURCE_DATE_EPOCH": str(epoch), "HOME": "/root"}
    if packages:
        await workshop.inside(
            ("/bin/sh", "-c", _INSTALL, "sh", *(f"{_DEBS}/{package.file.name}" for package in packages)),
            layers=[base.root],
            upper=work / ROOT,
            work=work,
            shown={debs: _DEBS},
            env=env,
            timeout_s=BUILD_S,
            say=say,
        )
    else:  # the base has them all
        finished.root.mkdir()
        finished.root.chmod(0o755)
    installed = {package.name: package.version for package in packages}
    facts = draft(
        Kind.LAYER, id_of(base.manifest.id, names), base=base.manifest.id, apt=sorted(set(names)), packages=installed
    )
    return await finished.finish(facts, parent)


async def _fetch(names: Sequence[str], status: Path, apt: Apt, say: Say) -> list[Package]:
    """Lists that are old may name files that are gone, and not name what is new."""
    await apt.update(older_than_s=FRESH_S)
    try:
        return await apt.fetch(names, status)
    except CommandFailed:
        await say("fetching the lists of packages again")
        await apt.update()
        return await apt.fetch(names, status)


def _lay_out(debs: Path, packages: Sequence[Package]) -> None:
    """Of all downloads only these are shown to the container."""
    debs.mkdir()
    debs.chmod(0o755)
    for package in packages:
        (debs / package.file.name).hardlink_to(package.file)
        package.file.chmod(0o644)
