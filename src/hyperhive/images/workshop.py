"""Commands in throw-away containers, with what they say as they say it."""

import asyncio
import collections
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.containers import cgroups
from hyperhive.containers.cgroups import Cage, Limiter
from hyperhive.containers.spec import Limits
from hyperhive.process import PLAIN_ENV, CommandFailed, explain, spawn

FIRST_UID: Final = 0x6FFF0000
"""Of the 65536 that everybody in there has: the last of those that systemd keeps for containers."""
LIMITS: Final = Limits(memory_bytes=4 << 30, cpu_percent=400, pids=4096, tmp_bytes=1 << 30)

_PROGRAM: Final = Path(__file__).with_name("throwaway.py")
_LAST_LINES: Final = 12
_MAX_LINE: Final = 500
_CAGE: Final = "images"

Say = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Runs one thing at a time."""

    limiter: Limiter

    async def outside(self, argv: Sequence[str], *, env: Mapping[str, str], timeout_s: float, say: Say) -> None:
        """As root of the host, with mounts and processes that end with it. Raises CommandFailed."""
        await self._run({"argv": list(argv), "env": dict(env), "layers": [], "hidden": []}, Cage(), timeout_s, say)

    async def inside(
        self,
        argv: Sequence[str],
        *,
        layers: Sequence[Path],
        upper: Path,
        work: Path,
        shown: Mapping[Path, str],
        env: Mapping[str, str],
        timeout_s: float,
        say: Say,
    ) -> None:
        """In a container on `layers` (the lowest first), whose root is nobody outside, that has no network and sees
        nothing of the host but what is `shown` to it. What it writes is in `upper`. Raises CommandFailed.
        """
        root = work / "merged"
        plan = {
            "argv": _nspawn(root, argv, shown, env),
            "env": dict(PLAIN_ENV),
            "layers": [str(layer) for layer in layers],
            "upper": str(upper),
            "work": str(work),
            "root": str(root),
            "first_uid": FIRST_UID,
            "hidden": ["/run/systemd/nspawn"],
        }
        await asyncio.to_thread(_make_room, root, work, upper)
        cage = await asyncio.to_thread(self.limiter.prepare_child, _CAGE, LIMITS)
        try:
            await self._run(plan, cage, timeout_s, say)
        finally:
            await asyncio.to_thread(cgroups.kill, cage.directories)
            await asyncio.to_thread(cgroups.remove, cage.directories)

    async def _run(self, plan: dict[str, object], cage: Cage, timeout_s: float, say: Say) -> None:
        command = (*cage.prefix, sys.executable, "-I", "-S", str(_PROGRAM))
        plan["parent"] = os.getpid()
        plan["procs"] = [f"{directory}/cgroup.procs" for directory in cage.directories]
        last: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        try:
            async with asyncio.timeout(timeout_s), spawn(command) as child:
                with contextlib.suppress(ConnectionError):
                    child.stdin.write(json.dumps(plan).encode())
                    await child.stdin.drain()
                child.stdin.close()
                await asyncio.gather(*(_lines(stream, last, say) for stream in (child.stdout, child.stderr)))
                status = await child.wait()
        except TimeoutError:
            raise CommandFailed(_argv(plan), f"took longer than {timeout_s:g} s and was ended") from None
        if status != 0:
            raise CommandFailed(_argv(plan), explain(status), "\n".join(last).encode())


def _argv(plan: Mapping[str, object]) -> list[str]:
    words = plan["argv"]
    assert isinstance(words, list)
    return words


def _nspawn(root: Path, argv: Sequence[str], shown: Mapping[Path, str], env: Mapping[str, str]) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2", "--machine=hive-images"),
        *(f"--directory={root}", f"--private-users={FIRST_UID}:65536", "--private-users-ownership=off"),
        *("--private-network", "--console=pipe", "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        *(f"--tmpfs=/tmp:mode=1777,size={LIMITS.tmp_bytes}", f"--tmpfs=/var/tmp:mode=1777,size={LIMITS.tmp_bytes}"),
        *(f"--bind-ro={_escaped(source)}:{place}" for source, place in shown.items()),
        *(f"--setenv={key}={value}" for key, value in env.items()),
        *argv,
    ]


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


def _make_room(root: Path, work: Path, upper: Path) -> None:
    for place in (root, work / "overlay", upper):
        place.mkdir(parents=True, exist_ok=True)
    upper.chmod(0o755)  # it is the root directory of all who get this layer
    os.chown(upper, FIRST_UID, FIRST_UID)


async def _lines(stream: asyncio.StreamReader, last: "collections.deque[str]", say: Say) -> None:
    """Each line, cut to a bound, also where there is no end of it."""
    rest = b""
    while chunk := await stream.read(1 << 14):
        *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        rest = rest[:_MAX_LINE]
        for line in whole:
            await _tell(line, last, say)
    await _tell(rest, last, say)


async def _tell(line: bytes, last: "collections.deque[str]", say: Say) -> None:
    text = line[:_MAX_LINE].decode(errors="replace").strip()
    if text:
        last.append(text)
        await say(text)
