"""What a container wrote to its output, bounded in lines and bytes. All of it is hostile text: show it, never act on
it, and escape it for whatever shows it.
"""

import asyncio
import ctypes
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

MAX_LINES: Final = 5000
MAX_LINE_CHARACTERS: Final = 4096
_TAIL_BYTES: Final = 4 << 20
_CHUNK: Final = 1 << 16
_IN_MODIFY, _IN_MOVED_FROM, _IN_CREATE = 0x2, 0x40, 0x100


def tail(log: Path, lines: int) -> list[str]:
    """The last lines, at most `MAX_LINES`, the older file included. Reads from disk: call it off the loop."""
    wanted = max(0, min(lines, MAX_LINES))
    found = _last_lines(log, wanted)
    if len(found) < wanted:
        found = _last_lines(log.with_name(log.name + ".1"), wanted - len(found)) + found
    return found


async def follow(log: Path, lines: int) -> AsyncGenerator[str]:
    """The last lines and then each further one, as it is written. Ends when the caller stops asking."""
    with _Watch(log.parent) as watch:
        reader = _Reader(log)
        try:
            for line in await asyncio.to_thread(reader.begin, lines):
                yield line
            while True:
                for line in await asyncio.to_thread(reader.more):
                    yield line
                await watch.changed()
        finally:
            reader.close()


class _Reader:
    """Reads on in a file that is replaced by a new one now and then."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._fd = -1
        self._part = b""

    def begin(self, lines: int) -> list[str]:
        """The last lines up to where `more` goes on; not a byte is missed in between."""
        self._open()
        if self._fd < 0:
            return []
        size = os.fstat(self._fd).st_size
        os.lseek(self._fd, size, os.SEEK_SET)
        *whole, self._part = _last_bytes(self._fd, size).split(b"\n")
        wanted = max(0, min(lines, MAX_LINES))
        found = [_text(line) for line in whole[-wanted:]] if wanted else []
        if len(found) < wanted:
            found = _last_lines(self._log.with_name(self._log.name + ".1"), wanted - len(found)) + found
        return found

    def more(self) -> list[str]:
        found = self._read()
        if self._replaced():
            found += self._read()
            self.close()
            self._open()
            found += self._read()
        return found

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        if self._log.exists():
            self._fd = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _replaced(self) -> bool:
        if not self._log.exists():
            return False
        return self._fd < 0 or os.fstat(self._fd).st_ino != self._log.stat().st_ino

    def _read(self) -> list[str]:
        found: list[str] = []
        while self._fd >= 0 and (chunk := os.read(self._fd, _CHUNK)):
            *whole, self._part = (self._part + chunk).split(b"\n")
            found += [_text(line) for line in whole]
            self._part = self._part[: MAX_LINE_CHARACTERS * 4]
        return found


class _Watch:
    """Tells when something in a directory changed (inotify)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1

    def __enter__(self) -> "_Watch":
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        mask = _IN_MODIFY | _IN_MOVED_FROM | _IN_CREATE
        if libc.inotify_add_watch(self._fd, os.fsencode(self._directory), mask) < 0:
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), "cannot follow the log", str(self._directory))
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    async def changed(self) -> None:
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        loop.add_reader(self._fd, event.set)
        try:
            await event.wait()
        finally:
            loop.remove_reader(self._fd)
        os.read(self._fd, _CHUNK)


def _last_lines(path: Path, wanted: int) -> list[str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    try:
        data = _last_bytes(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return [_text(line) for line in lines[-wanted:]] if wanted else []


def _last_bytes(fd: int, size: int) -> bytes:
    return os.pread(fd, min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))


def _text(line: bytes) -> str:
    return line[: MAX_LINE_CHARACTERS * 4].decode(errors="replace")[:MAX_LINE_CHARACTERS]
