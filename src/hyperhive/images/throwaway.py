"""Runs one command where nothing of it can be left: a program of its own, run by path with the standard library alone.

It reads a plan (JSON) from stdin and executes the plan's command as the first process of a pid namespace, in a mount
namespace that nobody else sees. When it dies, or the hive does, the kernel ends every process of it and takes every
mount away. Its exit status is the command's.

A plan with `layers` gets an overlay of them first, at `root`: owned as the container's user namespace sees it, and
what is written there goes to `upper`.
"""

# ruff: noqa: PTH103, PTH123

import contextlib
import ctypes
import json
import os
import signal
import sys
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWIPC = 0x20000, 0x10000000, 0x20000000, 0x08000000
_MS_REC, _MS_PRIVATE, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x4000, 0x40000, 2, 4, 8
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every architecture
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _MOVE_MOUNT_F_EMPTY_PATH = 1, os.O_CLOEXEC, 4
_MOUNT_ATTR_IDMAP = 0x00100000
_MNT_DETACH = 2
_OVERLAY = "xino=off,redirect_dir=off,metacopy=off,index=off"
"""So that a layer means the same on every kernel that it is mounted by."""


def main() -> int:
    plan = json.load(sys.stdin)
    os.umask(0o022)  # whatever the hive keeps to itself, agents read what is made here
    _die_with_parent(plan["parent"])
    for procs in plan["procs"]:
        with open(procs, "w") as file:
            file.write("0")
    _check(_LIBC.unshare(_CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWIPC), "cannot make namespaces")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    child = os.fork()
    if child == 0:
        try:
            _become(plan)
        except OSError as error:
            os.write(2, f"cannot prepare the container: {error.strerror} {error.filename or ''}\n".encode())
        os._exit(126)
    return _code(os.waitpid(child, 0)[1])


def _become(plan: dict[str, Any]) -> None:
    _die_with_parent(0)  # it is in another pid namespace
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if plan["layers"]:
        _overlay(plan)
    for place in plan["hidden"]:
        os.makedirs(place, exist_ok=True)
        _mount("hidden", place, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=16m")
    os.closerange(3, 4096)
    os.execvpe(plan["argv"][0], plan["argv"], plan["env"])


def _overlay(plan: dict[str, Any]) -> None:
    """Layers lie on disk as root's; through an idmapped mount each they are the namespace's root's."""
    namespace = _user_namespace(plan["first_uid"])
    places = []
    for number, layer in enumerate(plan["layers"]):
        place = f"{plan['work']}/low-{number}"
        os.makedirs(place, exist_ok=True)
        _idmapped(layer, place, namespace)
        places.append(place)
    lower = ":".join(reversed(places))
    data = f"lowerdir={lower},upperdir={plan['upper']},workdir={plan['work']}/overlay,{_OVERLAY}"
    _mount("overlay", plan["root"], "overlay", _MS_NODEV, data)
    for place in places:  # the overlay has clones of them
        _check(_LIBC.umount2(place.encode(), _MNT_DETACH), f"cannot unmount {place}")


def _user_namespace(first_uid: int) -> int:
    """A descriptor of one that maps 65536 ids from `first_uid`."""
    made_read, made_write = os.pipe()
    end_read, end_write = os.pipe()
    holder = os.fork()
    if holder == 0:
        os.close(end_write)
        made = _LIBC.unshare(_CLONE_NEWUSER) == 0
        os.write(made_write, b"y" if made else b"n")
        os.read(end_read, 1)
        os._exit(0)
    os.close(made_write)
    try:
        if os.read(made_read, 1) != b"y":
            raise OSError(0, "cannot make a user namespace")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{holder}/{name}", "w") as file:
                file.write(f"0 {first_uid} 65536")
        return os.open(f"/proc/{holder}/ns/user", os.O_RDONLY)
    finally:
        os.close(end_write)
        os.waitpid(holder, 0)


def _idmapped(source: str, target: str, namespace: int) -> None:
    tree = _LIBC.syscall(_OPEN_TREE, _AT_FDCWD, source.encode(), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)
    _check(min(tree, 0), f"cannot open {source} as a mount")
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_IDMAP, 0, 0, namespace)
    done = _LIBC.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, ctypes.sizeof(attributes))
    _check(done, f"cannot map the owners of {source}")
    done = _LIBC.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)
    _check(done, f"cannot mount {source}")
    os.close(tree)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _check(_LIBC.mount(*words[:3], ctypes.c_ulong(flags), words[3]), f"cannot mount {kind or 'anything'} at {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _die_with_parent(parent: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before this was asked for
        os._exit(1)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        try:
            sys.exit(main())
        except OSError as error:
            sys.exit(f"cannot prepare a container to build in: {error.strerror}")
    sys.exit(130)
