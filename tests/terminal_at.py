"""A command at a real terminal, as an operator has it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator

from hyperhive.testing.hive_process import HiveProcess

PATIENCE_S = 60.0
_ESCAPES = re.compile(rb"\x1b(\[[0-9;?>=<]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[78=>])")


class Terminal:
    """Its screen as one text without escapes: what was ever shown, in order."""

    def __init__(self, process: int, controller: int) -> None:
        self.process = process
        self._controller: int | None = controller
        self._shown = b""

    @property
    def shown(self) -> str:
        """Without blanks, which programs move over rather than write."""
        return re.sub(r"\s", "", _ESCAPES.sub(b"", self._shown).decode(errors="replace"))

    def until(self, words: str, *, times: int = 1) -> None:
        """Returns when the words are there so many times."""
        deadline = time.monotonic() + PATIENCE_S
        while self.shown.count(re.sub(r"\s", "", words)) < times:
            left = deadline - time.monotonic()
            assert left > 0, f"{words!r} did not come: {self.shown[-2000:]}"
            assert self._read(left), f"it ended before {words!r} came: {self.shown[-2000:]}"

    def types(self, text: str) -> None:
        assert self._controller is not None
        os.write(self._controller, text.encode())

    def becomes(self, rows: int, columns: int) -> None:
        assert self._controller is not None
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def vanishes(self) -> None:
        """As when its window is closed."""
        assert self._controller is not None
        os.close(self._controller)
        self._controller = None

    def ends(self) -> int:
        """The exit code of the command, or the negative number of the signal."""
        while self._controller is not None and self._read(PATIENCE_S):
            pass
        ended = os.pidfd_open(self.process)
        try:
            assert select.select([ended], [], [], PATIENCE_S)[0], f"it does not end: {self.shown[-2000:]}"
        finally:
            os.close(ended)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def close(self) -> None:
        if self._controller is not None:
            self.vanishes()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)

    def _read(self, patience_s: float) -> bool:
        assert self._controller is not None
        if not select.select([self._controller], [], [], patience_s)[0]:
            return True
        try:
            data = os.read(self._controller, 1 << 16)
        except OSError:  # nobody has it open any more
            data = b""
        self._shown += data
        return bool(data)


@contextlib.contextmanager
def terminal_at(hive: HiveProcess, *words: str) -> Iterator[Terminal]:
    """`hive` with these words, in a terminal of 40 by 120."""
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    process, controller = pty.fork()
    if process == 0:
        os.execve(sys.executable, [sys.executable, "-m", "hyperhive.cli", *words], {**env, **hive.paths.environment()})
    terminal = Terminal(process, controller)
    try:
        terminal.becomes(40, 120)
        yield terminal
    finally:
        terminal.close()
