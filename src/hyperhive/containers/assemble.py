"""Puts a container's root file system together, in a mount namespace that nobody but our descendants is in.

Part of the launcher, which runs it when a container has a root of its own: nothing but the standard library. The
layers below and the mounts may be hostile, so nothing is opened by a path that leads through them.
"""

# pathlib, contextlib and typing would be a good part of the launcher's start
# ruff: noqa: PTH101, PTH102, PTH103, PTH112, PTH115, PTH120, PTH123, PTH211

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STAGE = "/tmp"
_NSPAWNS_OWN = "/run/systemd/nspawn"

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_SLAVE, _MNT_DETACH = 2, 4, 0x4000, 0x80000, 2
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_EMPTY_PATH, _AT_RECURSIVE, _OPEN_TREE_CLONE, _MOVE_FROM_FD = 0x1000, 0x8000, 1, 4
_ATTR_NOSUID, _ATTR_NODEV, _ATTR_IDMAP = 2, 4, 0x100000
_RANGE = 1 << 16
_LIBC = ctypes.CDLL(None, use_errno=True)


def assemble(plan: "dict[str, Any]", mounts: list[list[str]]) -> None:
    """`mounts`: (source, place) of what is to be seen inside; `plan` is a backend's `Assembly`."""
    _check(_LIBC.unshare(_CLONE_NEWNS), "a mount namespace")
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)
    # Opened before anything is covered: a source may itself lie where the stage is about to be.
    layers = [os.open(layer, os.O_PATH) for layer in plan["layers"]]
    sources = [(os.open(source, os.O_PATH), place) for source, place in mounts]
    ours = {name: os.open(name, os.O_PATH) for name in ("up", "go", "out")}
    journal = _journal(plan) if plan["journal"] else -1
    os.umask(0o022)
    _mount("stage", _STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=4m")
    # What nspawn notes of its containers is no business of another hive's, nor of the host's.
    os.makedirs(_NSPAWNS_OWN, exist_ok=True)
    _mount("nspawn", _NSPAWNS_OWN, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for fd, place in sources:
        _bind(fd, place)
    if journal >= 0:
        _bind(journal, plan["journal"])
    for place, (_, options) in plan["memory"].items():
        os.makedirs(place)
        _mount("memory", place, "tmpfs", _MS_NOSUID | _MS_NODEV, options)
    _write_start(plan, ours)
    _make_root(plan, layers)


def _make_root(plan: "dict[str, Any]", layers: list[int]) -> None:
    above = f"{_STAGE}/above"
    os.makedirs(above)
    _mount("above", above, "tmpfs", _MS_NODEV, f"mode=0755,size={plan['bytes_above']}")
    for name in ("upper", "work"):
        os.mkdir(f"{above}/{name}", 0o755)
        os.chown(f"{above}/{name}", plan["first_uid"], plan["first_uid"])
    _furnish(f"{above}/upper", plan)
    places = [f"{_STAGE}/low/{number}" for number in range(len(layers))]
    userns = _shifted(plan["first_uid"])
    for fd, place in zip(layers, places, strict=True):
        os.makedirs(place)
        _clone(fd, place, _ATTR_IDMAP | _ATTR_NODEV, userns)
    os.close(userns)
    os.makedirs(plan["root"])
    lower = ":".join(reversed(places))
    _mount("root", plan["root"], "overlay", _MS_NODEV, f"lowerdir={lower},upperdir={above}/upper,workdir={above}/work")
    for place in places:  # the overlay has its own hold of them
        _check(_LIBC.umount2(place.encode(), _MNT_DETACH), place)


def _furnish(upper: str, plan: "dict[str, Any]") -> None:
    """Files and mount points. Made where nothing is yet: what a layer has at such a path is not followed."""
    for path, content in plan["above"].items():
        where = f"{upper}/{path}"
        os.makedirs(os.path.dirname(where), exist_ok=True)
        if content.startswith(b"->"):
            os.symlink(content[2:], where)
        else:
            with open(where, "wb") as file:
                file.write(content)
    for path, text in plan["links"].items():
        where = _before_it_is_covered(upper, plan, path)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        os.symlink(text, where)
    for _, target in [(None, seen) for seen, _ in plan["memory"].values()]:
        os.makedirs(f"{upper}{target}", exist_ok=True)
    for place, target in sorted(plan["points"].items(), key=lambda point: point[1]):
        if os.path.isdir(place):
            os.makedirs(f"{upper}{target}", exist_ok=True)
        else:
            os.makedirs(os.path.dirname(f"{upper}{target}"), exist_ok=True)
            os.close(os.open(f"{upper}{target}", os.O_CREAT | os.O_WRONLY, 0o644))
    for directory, directories, files in os.walk(upper):
        for name in (*directories, *files):
            os.chown(f"{directory}/{name}", plan["first_uid"], plan["first_uid"], follow_symlinks=False)


def _before_it_is_covered(upper: str, plan: "dict[str, Any]", path: str) -> str:
    """Where to make what is to be seen at `path`."""
    for place, (seen, _) in plan["memory"].items():
        if path.startswith(f"{seen}/"):
            return f"{place}{path.removeprefix(seen)}"
    return upper + path


def _write_start(plan: "dict[str, Any]", ours: dict[str, int]) -> None:
    os.makedirs(plan["start"])
    for name, file in plan["files"].items():
        fd = os.open(f"{plan['start']}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o400)
        with open(fd, "wb") as writing:
            writing.write(file["text"])
            os.fchown(fd, file["uid"], file["uid"])
            os.fchmod(fd, file["mode"])
    for name, fd in ours.items():
        _bind(fd, f"{plan['start']}/{name}")


def _journal(plan: "dict[str, Any]") -> int:
    """The container's own, in the directory that is kept of it."""
    os.makedirs("journal", mode=0o700, exist_ok=True)
    fd = os.open("journal", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    os.chown("journal", plan["first_uid"], plan["first_uid"], follow_symlinks=False)
    os.chmod("journal", 0o755)
    return fd


def _bind(fd: int, place: str) -> None:
    """Without setuid bits and devices, whatever is mounted below included."""
    if os.path.isdir(f"/proc/self/fd/{fd}"):
        os.makedirs(place)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    _clone(fd, place, _ATTR_NOSUID | _ATTR_NODEV, flags=_AT_RECURSIVE)


def _clone(fd: int, place: str, attributes: int, userns: int = 0, flags: int = 0) -> None:
    """A mount of what the descriptor is, with these attributes from its first moment."""
    copy = _call(_OPEN_TREE, fd, b"", _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC | flags)
    wanted = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, userns))
    try:
        _call(_MOUNT_SETATTR, copy, b"", _AT_EMPTY_PATH | flags, wanted, ctypes.c_size_t(32))
        _call(_MOVE_MOUNT, copy, b"", -100, place.encode(), _MOVE_FROM_FD)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.readlink(f"/proc/self/fd/{fd}")) from None
    finally:
        os.close(copy)


def _shifted(first_uid: int) -> int:
    """A user namespace in which root is `first_uid`, as a descriptor."""
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        status = _LIBC.unshare(_CLONE_NEWUSER)
        os.write(ready[1], b"x" if status == 0 else b"")
        os.close(done[1])
        os.read(done[0], 1)
        os._exit(0)
    os.close(ready[1])
    os.close(done[0])
    try:
        if os.read(ready[0], 1) != b"x":
            raise OSError(1, "cannot make a user namespace")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w") as file:
                file.write(f"0 {first_uid} {_RANGE}\n")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    finally:
        os.close(done[1])
        os.close(ready[0])
        os.waitpid(child, 0)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _check(_LIBC.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3]), source or target)


def _call(number: int, *arguments: "Any") -> int:
    return _check(int(_LIBC.syscall(number, *arguments)), "a mount")


def _check(status: int, what: str) -> int:
    if status < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)
    return status
