"""The system call filter, installed in a process of its own and tried there."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

import needs
from hyperhive.containers.seccomp import NEWEST, OF_OTHERS, compile_filter

TRY = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
program = ctypes.create_string_buffer(sys.stdin.buffer.read())
described = struct.pack("=HxxxxxxQ", (len(program) - 1) // 8, ctypes.addressof(program))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, described, 0, 0) == 0
for number in map(int, sys.argv[1:]):
    print(0 if libc.syscall(number, 0, 0, 0, 0, 0) >= 0 else ctypes.get_errno())
"""
GETPID = {"x86_64": 39, "aarch64": 172}
PTRACE = {"x86_64": 101, "aarch64": 117}
MEMFD_SECRET, CLONE3, IO_URING_SETUP = 447, 435, 425  # the same everywhere
X32 = 0x40000000


def tried(*numbers: int, refusing: Sequence[str] = ()) -> list[int]:
    """What each call ends with behind the filter: 0 or an error's number."""
    needs.seccomp()
    program = compile_filter(*refusing)
    assert program is not None
    argv = [sys.executable, "-I", "-c", TRY, *map(str, numbers)]
    done = subprocess.run(argv, input=program, capture_output=True, check=True, timeout=30)
    return [int(line) for line in done.stdout.split()]


pytestmark = pytest.mark.skipif(
    os.uname().machine not in GETPID, reason="its numbers are those of x86_64 and aarch64, where CI runs"
)


def test_what_a_turn_needs_is_let_through_and_what_reaches_deep_into_the_kernel_is_not() -> None:
    calls = (GETPID[os.uname().machine], IO_URING_SETUP, MEMFD_SECRET, CLONE3)
    assert tried(*calls) == [0, errno.EPERM, errno.EPERM, errno.ENOSYS]


def test_nspawn_s_reaches_into_no_process() -> None:
    machine = os.uname().machine
    trace_me = PTRACE[machine]
    assert tried(GETPID[machine], trace_me) == [0, 0]
    assert tried(GETPID[machine], trace_me, refusing=OF_OTHERS) == [0, errno.EPERM]


def test_a_call_that_is_newer_than_what_anybody_looked_at_is_not_there() -> None:
    assert tried(NEWEST + 1, NEWEST + 1000) == [errno.ENOSYS, errno.ENOSYS]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86_64 alone has a second set of numbers")
def test_the_second_set_of_numbers_is_not_there() -> None:
    assert tried(X32 + GETPID["x86_64"]) == [errno.ENOSYS]
