"""`hive shell`: into an agent's container."""

import fcntl
import os
import pty
import signal
import termios
from collections.abc import Callable
from typing import Final

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import CliError, put_json
from hyperhive.protocol import host

_PASSED_ON: Final = ("TERM", "COLORTERM", "LANG", "PATH")
"""All that the container learns of the operator's environment."""


def run(name: Agent, json: Json = False) -> int:
    """Open a shell in an agent's container. What runs in there can write anything to your terminal."""
    answer = ask(host.Shell(name=name), doing=f"opening {name}")
    if json:
        put_json(answer)
        return 0
    if not answer.shell or not answer.shell.argv:
        raise CliError(f"the hive knows no way into {name}")
    if answer.shell.needs_root and os.geteuid() != 0:
        raise CliError(f"only root can enter {name}'s container: run `sudo hive shell {name}`")
    return _on_a_terminal([*_bare_environment(), *answer.shell.argv])


def _bare_environment() -> list[str]:
    kept = [f"{name}={os.environ[name]}" for name in _PASSED_ON if name in os.environ]
    return ["/usr/bin/env", "-i", *kept]


def _on_a_terminal(argv: list[str]) -> int:
    """Run it on a terminal of its own, as large as ours; returns its exit code."""
    try:
        status = pty.spawn(argv, _reader_that_sizes())
    finally:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _reader_that_sizes() -> Callable[[int], bytes]:
    sized: list[int] = []

    def read(terminal: int) -> bytes:
        if not sized:
            sized.append(terminal)
            signal.signal(signal.SIGWINCH, lambda *_: _copy_size(terminal))
            _copy_size(terminal)
        return os.read(terminal, 65536)

    return read


def _copy_size(terminal: int) -> None:
    try:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
    except OSError:  # stdin is no terminal: nothing to copy
        return
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
