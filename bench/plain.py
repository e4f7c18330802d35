"""nspawn by hand, over the same images as the hive's containers: what they are measured against."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hyperhive.containers.cgroups import CgroupV1, CgroupV2, Limiter, find_limiter

ENV: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
BARE: Final = "import asyncio, sqlite3, msgspec; print('up', flush=True); input()"
"""What no runner can do without; it says so and then waits."""
_NSPAWN: Final = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2", "--console=pipe")


@contextlib.contextmanager
def merged(layers: Sequence[Path], place: Path) -> Iterator[Path]:
    """The layers as one root, the lowest first; what is written there is thrown away."""
    root, upper, work = (place / name for name in ("root", "upper", "work"))
    for directory in (root, upper, work):
        directory.mkdir(parents=True)
    lower = ":".join(str(layer.resolve()) for layer in reversed(layers))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(root)], env=ENV, check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", str(root)], env=ENV, check=True)


def limiter() -> Limiter:
    return find_limiter(f"hive-bench-{os.getpid()}")


@contextlib.contextmanager
def up(root: Path, name: str, *argv: str) -> Iterator[float]:
    """A plain container whose Python has said that it is up: the seconds that took. It ends with the block."""
    began = time.monotonic()
    process = begin(root, name, *argv)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n", "the plain container did not come up"
        yield time.monotonic() - began
    finally:
        process.communicate(b"\n", timeout=30)


def begin(root: Path, name: str, *argv: str) -> "subprocess.Popen[bytes]":
    """In a control group of its own, as nspawn wants it."""
    words = [*_NSPAWN, f"--machine={name}", f"--directory={root}", "--private-network", *argv]
    groups = _groups(name)
    return subprocess.Popen(
        ["/bin/sh", "-c", 'for g in $GROUPS_OF; do echo 0 >"$g/cgroup.procs"; done; exec "$@"', "sh", *words],
        env={**ENV, "GROUPS_OF": " ".join(map(str, groups))}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def _groups(name: str) -> list[Path]:
    own = limiter()
    if not isinstance(own, CgroupV1 | CgroupV2):
        return []
    groups = [group for group in own.expected(name) if group.parent.parent.name in ("unified", "systemd", "pids")]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    return groups
