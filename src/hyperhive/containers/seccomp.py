"""The system calls that a container may not make, as a filter program for the kernel.

Compiled by the host's libseccomp; without it there is no filter, and `hive doctor` says so.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence
from typing import Final

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_EQUAL, _GREATER, _MASKED_EQUAL = 4, 6, 7
_LOW_32: Final = 0xFFFFFFFF
_UNKNOWN: Final = -1

DENIED: Final = (
    *("keyctl", "add_key", "request_key"),
    *("bpf", "perf_event_open", "userfaultfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("mount", "umount2", "pivot_root", "chroot", "mount_setattr", "move_mount", "open_tree", "open_tree_attr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "fanotify_init", "open_by_handle_at", "name_to_handle_at"),
    *("setns", "unshare"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
    *("reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup"),
    *("settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "iopl", "ioperm", "lookup_dcookie"),
    *("modify_ldt", "memfd_secret", "fanotify_mark", "process_mrelease"),
    *(
        "_sysctl",
        "afs_syscall",
        "create_module",
        "get_kernel_syms",
        "getpmsg",
        "nfsservctl",
        "putpmsg",
        "query_module",
    ),
    *("security", "sysfs", "tuxcall", "uselib", "ustat", "vserver"),
)
"""Refused with EPERM; a name that neither the library nor we have a number for is left out."""
OF_OTHERS: Final = ("ptrace", "pidfd_getfd")
"""Reach into other processes. An agent may into its own, to look for a mistake in them, but not where nspawn's filter
has always refused it."""
NEWEST: Final = 467
"""What comes after it a container finds missing: nobody here has looked at what a newer kernel may have there."""
_NUMBERS: Final = {"mount_setattr": 442, "memfd_secret": 447, "process_mrelease": 448, "open_tree_attr": NEWEST}
"""Of calls whose names a library that is older than the kernel does not know."""
_NUMBERED_ALIKE: Final = ("x86_64", "aarch64")
_LOAD_NUMBER, _JUMP_IF_GREATER, _RETURN = 0x20, 0x25, 0x06

NEW_NAMESPACES: Final = (
    0x00000080,
    0x00020000,
    0x02000000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
TERMINAL_INJECTION: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
SOCKET_FAMILIES: Final = (1, 2, 10, 16)
"""UNIX, INET, INET6, NETLINK: the others are not cut off by a network namespace (vsock) or are seldom-tried code."""


class _Compare(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class _Filter:
    """A filter under construction; `close` frees it."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_rule_add_array.argtypes = (
            *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Compare)),
        )
        library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
        library.seccomp_release.argtypes = (ctypes.c_void_p,)
        self._library = library
        self._context = library.seccomp_init(_ALLOW)

    def refuse(self, call: str, error: int, *conditions: _Compare) -> None:
        """One rule; all its conditions must hold."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number == _UNKNOWN and os.uname().machine in _NUMBERED_ALIKE:
            number = _NUMBERS.get(call, number)
        if number < 0:
            return
        array = (_Compare * max(len(conditions), 1))(*conditions)
        status = self._library.seccomp_rule_add_array(self._context, _ERRNO | error, number, len(conditions), array)
        if status:
            raise OSError(-status, f"cannot add the rule for {call} to the system call filter")

    def program(self) -> bytes:
        fd = os.memfd_create("filter")
        try:
            if status := self._library.seccomp_export_bpf(self._context, fd):
                raise OSError(-status, "cannot write the system call filter")
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)

    def close(self) -> None:
        self._library.seccomp_release(self._context)


def compile_filter(*also: str) -> bytes | None:
    """The program, which refuses these calls, too; or None where libseccomp is missing.

    Reads the library from disk: call it off the event loop.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    build = _Filter(library)
    try:
        _add_rules(build, also)
        return _nothing_newer() + build.program()
    finally:
        build.close()


def _nothing_newer() -> bytes:
    """Instructions (struct sock_filter) that go before the others; the library has no rule about numbers."""
    if os.uname().machine not in _NUMBERED_ALIKE or sys.maxsize < 1 << 32:
        return b""
    instructions = (
        *((_LOAD_NUMBER, 0, 0, 0), (_JUMP_IF_GREATER, 0, 1, NEWEST)),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    )
    return b"".join(struct.pack("=HBBI", *fields) for fields in instructions)


def _add_rules(build: _Filter, also: Sequence[str]) -> None:
    for call in (*DENIED, *also):
        build.refuse(call, errno.EPERM)
    for flag in NEW_NAMESPACES:
        build.refuse("clone", errno.EPERM, _Compare(0, _MASKED_EQUAL, flag, flag))
    # clone3 passes its flags by pointer, which a filter can't read; ENOSYS makes callers fall back to clone.
    build.refuse("clone3", errno.ENOSYS)
    for request in TERMINAL_INJECTION:
        build.refuse("ioctl", errno.EPERM, _Compare(1, _MASKED_EQUAL, _LOW_32, request))
    build.refuse("socket", errno.EAFNOSUPPORT, _Compare(0, _GREATER, max(SOCKET_FAMILIES), 0))
    for family in sorted(set(range(max(SOCKET_FAMILIES))) - set(SOCKET_FAMILIES)):
        build.refuse("socket", errno.EAFNOSUPPORT, _Compare(0, _EQUAL, family, 0))
