"""A file of one line in the agent's state: a choice that outlives the harness."""

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

MAX_LINE: Final = 512
"""Bytes that are read; a longer line is not a choice of ours."""


class OneLineFile:
    """Never follows a symlink in its place: what is there is then as good as absent, and writing is refused."""

    def __init__(self, path: Path, pattern: str) -> None:
        self._path = path
        self._pattern = re.compile(pattern)

    def read(self) -> str | None:
        """The line, or None when there is none yet; raises OSError and ValueError saying why it can't be used."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:  # noqa: PTH123 (a descriptor, not a path)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ValueError("it is not a regular file")
            line = file.read(MAX_LINE).decode(errors="replace").strip()
        if line and not self._pattern.fullmatch(line):
            raise ValueError("its content is not one line of the expected form")
        return line or None

    def write(self, line: str) -> None:
        """Replace the content at once, or leave it as it was and raise OSError."""
        if self._path.is_symlink():
            raise OSError(errno.ELOOP, "a symlink stands in its place")
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        part.unlink(missing_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with open(fd, "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
                file.write(line.encode() + b"\n")
            part.replace(self._path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Harmless when there is none."""
        self._path.unlink(missing_ok=True)
