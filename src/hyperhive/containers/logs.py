"""What a container wrote to its output, bounded in lines and bytes. All of it is hostile text: show it, never act on
it, and escape it for whatever shows it.
"""

import asyncio
import ctypes
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import msgspec

MAX_LINES: Final = 5000
MAX_LINE_CHARACTERS: Final = 4096
_TAIL_BYTES: Final = 4 << 20
_CHUNK: Final = 1 << 16
_IN_MODIFY, _IN_MOVED_FROM, _IN_CREATE = 0x2, 0x40, 0x100


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a log, which stays the same when the file gets another name."""

    file: int  #: its inode's number; 0: there was none yet
    offset: int

    @classmethod
    def of(cls, log: Path) -> "Mark":
        """The end of it now."""
        if not log.exists():
            return cls(file=0, offset=0)
        found = log.stat()
        return cls(file=found.st_ino, offset=found.st_size)


def tail(log: Path, lines: int, since: Mark | None = None) -> list[str]:
    """The last lines, at most `MAX_LINES`, the older file included; none from before the mark.

    Reads from disk: call it off the loop.
    """
    fd = _open(log)
    try:
        *whole, rest = _recent(log, fd, since).split(b"\n")
    finally:
        _close(fd)
    return _texts([*whole, rest] if rest else whole, lines)


async def follow(log: Path, lines: int, since: Mark | None = None) -> AsyncGenerator[str]:
    """As `tail`, and then each further one, as it is written. Ends when the caller stops asking."""
    with _Watch(log.parent) as watch:
        reader = _Reader(log)
        try:
            for line in await asyncio.to_thread(reader.begin, lines, since):
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

    def begin(self, lines: int, since: Mark | None = None) -> list[str]:
        """The last lines up to where `more` goes on; not a byte is missed in between."""
        self._fd = _open(self._log)
        *whole, self._part = _recent(self._log, self._fd, since).split(b"\n")
        return _texts(whole, lines)

    def more(self) -> list[str]:
        found = self._read()
        if self._replaced():
            found += self._read()
            self.close()
            self._fd = _open(self._log)
            found += self._read()
        return found

    def close(self) -> None:
        _close(self._fd)
        self._fd = -1

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


def _recent(log: Path, fd: int, since: Mark | None) -> bytes:
    """The end of what was written, of which the file at `fd` is the newest part; leaves `fd` at its end."""
    newer = _end_of(fd, _TAIL_BYTES, since)
    if since is not None and _is_in(fd, since):
        return newer
    older = _open(log.with_name(log.name + ".1"))
    try:
        return _end_of(older, _TAIL_BYTES - len(newer), since) + newer
    finally:
        _close(older)


def _end_of(fd: int, most: int, since: Mark | None) -> bytes:
    if fd < 0:
        return b""
    size = os.fstat(fd).st_size
    begin = since.offset if since is not None and _is_in(fd, since) else 0
    wanted = min(max(size - begin, 0), most)
    os.lseek(fd, size, os.SEEK_SET)
    return os.pread(fd, wanted, size - wanted)


def _is_in(fd: int, mark: Mark) -> bool:
    return fd >= 0 and os.fstat(fd).st_ino == mark.file


def _open(path: Path) -> int:
    """-1 when it is not there."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _texts(lines: list[bytes], most: int) -> list[str]:
    wanted = max(0, min(most, MAX_LINES))
    return [_text(line) for line in lines[-wanted:]] if wanted else []


def _text(line: bytes) -> str:
    return line[: MAX_LINE_CHARACTERS * 4].decode(errors="replace")[:MAX_LINE_CHARACTERS]
