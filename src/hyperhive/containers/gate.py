"""The first program of ours in a container whose backend can't wait for us: copied there and run by path with the
container's own Python and nothing but the standard library.

It says that it is there, waits until the hive has recorded it, and then becomes what the container is for: as the
agent, without a capability, behind the system call filter, with exactly the environment it was given. The plan lies
beside it and only those may read it who run it.

A module of the Python that runs us is run by us: a second start of a Python takes longer than all else that we do.
"""

# pathlib, json and typing would each be a good part of this program's start
# ruff: noqa: PTH100, PTH118, PTH120, PTH123

import ctypes
import marshal
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_SECCOMP = 4, 38, 24, 22
_MS_RDONLY = 1
_CAPABILITY_VERSION_3 = 0x20080522
_HERE = os.path.dirname(os.path.abspath(__file__))
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(plan_name: str) -> "tuple[str, dict[str, str], int]":
    """The module that is left to run, its environment, and what to close when it does; else it does not come back."""
    with open(os.path.join(_HERE, plan_name), "rb") as file:
        plan = marshal.load(file)
    # Closed by a program that is there: then whoever reads it knows that the container has begun.
    up = os.open(os.path.join(_HERE, "up"), os.O_WRONLY | os.O_CLOEXEC) if plan["waits"] else -1
    try:
        if plan["waits"]:
            os.write(up, b"up\n")
            with open(os.path.join(_HERE, "go"), "rb", buffering=0) as go:
                go.read(1)
        env = _become(plan)
        if plan["module"]:
            return plan["module"], env, up
        os.execvpe(plan["argv"][0], plan["argv"], env)
    except OSError as error:
        words = f"cannot run {plan['argv'][0]}: {error.strerror}\n".encode()
        os.write(2, words)
        if up >= 0:
            os.write(up, words)
    os._exit(127)


def _become(plan: "dict[str, Any]") -> "dict[str, str]":
    """The environment that is left."""
    env = dict(plan["env"])
    for name in plan["passed"]:
        if name in os.environ:
            env[name] = os.environ[name]
    if plan["uid"] is not None:
        if os.getuid() == 0 and _LIBC.mount(b"none", b"/sys", b"tmpfs", _MS_RDONLY, b"size=4k,mode=0555") != 0:
            raise OSError(ctypes.get_errno(), "cannot cover /sys")
        _give_up(plan["uid"])
        os.chdir(plan["cwd"])  # as the agent: what is its own is closed to a root without capabilities
        env["PWD"] = plan["cwd"]
        _filter(plan["filter"])
        _check(_LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "cannot be the agent's own process")
    return env


def _run(module: str, env: "dict[str, str]", up: int) -> None:
    """What a program's start would do for it: the environment and what is read from that, its packages, and /proc/self
    as its own. Packages come last: what they do when a Python starts is done without privileges, too."""
    import runpy
    import site
    import time

    os.environ.clear()
    os.environ.update(env)
    env.clear()
    time.tzset()
    del sys.argv[1:]
    site.main()
    if up >= 0:
        os.close(up)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _give_up(uid: int) -> None:
    """Every capability, for good, and root's uid if we came with it."""
    if os.getuid() == 0:
        for capability in range(64):
            _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
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


def _check(status: int, what: str) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), what)


if __name__ == "__main__":
    _run(*main(sys.argv[1]))
