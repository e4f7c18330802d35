"""nspawn by hand, over the same images as the hive's containers: what they are measured against."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hyperhive.containers import cgroups
from hyperhive.containers.cgroups import Cage, find_limiter
from hyperhive.containers.spec import Limits
from hyperhive.protocol.settings import LimitSettings

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


@contextlib.contextmanager
def up(root: Path, name: str, *argv: str) -> Iterator[float]:
    """A plain container whose Python has said that it is up: the seconds that took. It ends with the block."""
    with caged(name) as cage:
        began = time.monotonic()
        process = begin(root, name, cage, *argv)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n", "the plain container did not come up"
            yield time.monotonic() - began
        finally:
            process.communicate(b"\n", timeout=30)


@contextlib.contextmanager
def caged(name: str) -> Iterator[Cage]:
    """Control groups with the limits that an agent's container has, made beforehand: on a busy machine whoever is in
    none gets more of the processor than what is in one."""
    limiter = find_limiter(f"hive-bench-{os.getpid()}")
    cage = limiter.prepare_child(name, Limits.from_settings(LimitSettings()))
    try:
        yield cage
    finally:
        cgroups.remove(cage.directories)
        limiter.release()


def begin(root: Path, name: str, cage: Cage, *argv: str) -> "subprocess.Popen[bytes]":
    enter = 'for g in $GROUPS_OF; do echo 0 >"$g/cgroup.procs"; done; exec "$@"'
    words = [*_NSPAWN, f"--machine={name}", f"--directory={root}", "--private-network", *argv]
    return subprocess.Popen(
        [*cage.prefix, "/bin/sh", "-c", enter, "sh", *words],
        env={**ENV, "GROUPS_OF": " ".join(map(str, cage.directories))}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
