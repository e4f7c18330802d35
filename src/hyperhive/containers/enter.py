"""Runs a command in a running container for the operator: a program of its own, run by path with nothing but the
standard library.

It joins the container's control groups and namespaces, takes the agent's uid, installs the same system call filter,
gives up every capability and the way to new ones. At a terminal the command gets a terminal of its own, made here
and relayed, so that nothing in the container ever holds the operator's. When the relay ends, however it does, that
terminal hangs up.

HYPERHIVE_LEASE is the number of a descriptor that stays open for as long as the command may run: its end ends the
relay, and the relay's end is its end.
"""

# pathlib would be a good part of this program's start
# ruff: noqa: PTH115, PTH123

import base64
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import tty
from typing import Any

_NAMESPACES = {
    **{"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000},
    **{"user": 0x10000000, "pid": 0x20000000, "net": 0x40000000},
}
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_SECCOMP = 38, 24, 22
_CAPABILITY_VERSION_3 = 0x20080522
_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    plan = json.loads(sys.argv[1])
    terminals = [fd for fd in (1, 2, 0) if os.isatty(fd)]
    lease = int(os.environ.get("HYPERHIVE_LEASE", "-1"))
    controller, terminal = pty.openpty() if terminals else (-1, -1)
    # The relay stays outside: it must outlive the container to give the operator's terminal back as it was.
    child = os.fork()
    if child == 0:
        # The relay's descriptors are its own: whoever is left when it dies must hold none of them.
        os.closerange(3, max(terminal, 3))
        os.closerange(max(terminal, 2) + 1, 4096)
        os._exit(_inside(plan, terminal, terminals))
    if not terminals:
        return _code(os.waitpid(child, 0)[1])
    os.close(terminal)
    return _relay(controller, child, terminals[0], lease)


def _inside(plan: dict[str, Any], terminal: int, terminals: list[int]) -> int:
    try:
        init = _open(plan["init"], plan["start"])
        _join_groups(plan["init"])
        if os.getuid() == 0:
            os.setgroups([])  # later it is forbidden
        _join_namespaces(plan["init"], init)
    except OSError as error:
        os.write(2, f"cannot enter the container: {error.strerror}; has it just ended?\n".encode())
        return 126
    # Only a child is in the new pid namespace.
    child = os.fork()
    if child == 0:
        _become(plan, terminal, terminals)
    return _code(os.waitpid(child, 0)[1])


def _open(pid: int, start: int) -> int:
    """A descriptor of the container's first process, not of one that has got its number since."""
    fd = os.pidfd_open(pid)
    with open(f"/proc/{pid}/stat", "rb") as file:
        if int(file.read().rpartition(b")")[2].split()[19]) != start:
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
    return fd


def _join_groups(init: int) -> None:
    """So that what the operator starts counts for the agent's limits and dies with the container."""
    with open(f"/proc/{init}/cgroup") as file:
        lines = [line.strip().split(":", 2) for line in file]
    for _, controllers, path in lines:
        for tree in ("", *controllers.split(","), "unified"):
            with contextlib.suppress(OSError), open(f"/sys/fs/cgroup/{tree}{path}/cgroup.procs", "w") as procs:
                procs.write("0")
                break


def _join_namespaces(init: int, fd: int) -> None:
    # All in one call: one after the other is not allowed, since they belong to two different user namespaces.
    flags = sum(flag for kind, flag in _NAMESPACES.items() if _differs(init, kind))
    if _LIBC.setns(fd, flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(fd)


def _differs(init: int, kind: str) -> bool:
    return os.readlink(f"/proc/self/ns/{kind}") != os.readlink(f"/proc/{init}/ns/{kind}")


def _become(plan: dict[str, Any], terminal: int, terminals: list[int]) -> None:
    try:
        os.setsid()
        if terminal >= 0:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for fd in terminals:
            os.dup2(terminal, fd)
        os.closerange(3, 4096)
        _give_up(plan["uid"])
        os.chdir(plan["cwd"])
        _filter(base64.b64decode(plan["filter"]))
        os.execvpe(plan["argv"][0], plan["argv"], plan["env"])
    except OSError as error:
        os.write(2, f"cannot run {plan['argv'][0]} in the container: {error}\n".encode())
    os._exit(127)


def _give_up(uid: int) -> None:
    """Every capability, for good, and root's uid if we came with it."""
    for capability in range(64):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if os.getuid() != uid:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if _LIBC.capset(header, bytes(24)) != 0 or _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot give up privileges")


def _filter(program: bytes) -> None:
    """The system call filter (struct sock_fprog: a count of 8-byte instructions and where they are)."""
    memory = ctypes.create_string_buffer(program)
    described = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(memory))
    if program and _LIBC.prctl(_PR_SET_SECCOMP, 2, described, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot install the system call filter")


def _relay(controller: int, child: int, screen: int, lease: int) -> int:
    """Between the operator's terminal, in raw mode, and the command's own; ends with the command.

    What the operator has redirected is no terminal, and the command holds it itself.
    """
    signal.signal(signal.SIGWINCH, lambda *_: _copy_size(controller, screen))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    _copy_size(controller, screen)
    held = {lease: -1} if lease >= 0 else {}
    if not os.isatty(0):
        _copy({controller: screen, **held}, controller)
    else:
        before = termios.tcgetattr(0)
        try:
            tty.setraw(0, termios.TCSADRAIN)
            _copy({0: controller, controller: screen, **held}, controller)
        finally:
            with contextlib.suppress(termios.error):  # a terminal that has hung up
                termios.tcsetattr(0, termios.TCSADRAIN, before)
    os.close(controller)
    return _code(os.waitpid(child, 0)[1])


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


def _copy(sources: dict[int, int], controller: int) -> None:
    """Until the command's terminal has ended, or a source that is only held."""
    while True:
        for fd in select.select(list(sources), [], [])[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""  # the other side of a terminal is gone
            if data:
                _write(sources[fd], data) if sources[fd] >= 0 else None
            elif fd == controller or sources[fd] < 0:
                return
            else:
                del sources[fd]


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _copy_size(controller: int, screen: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(controller, termios.TIOCSWINSZ, fcntl.ioctl(screen, termios.TIOCGWINSZ, bytes(8)))


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
