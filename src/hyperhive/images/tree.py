"""Directory trees as images are made of them: what is in one, line by line, and whose it is.

All of it reads and writes the file system: call it off the loop. Nothing is followed; nobody may be writing meanwhile.
"""

import contextlib
import errno
import gzip
import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

_CAPABILITY: Final = "security.capability"
_LEFT_OUT: Final = ("security.selinux", *(f"trusted.overlay.{name}" for name in ("origin", "impure", "uuid")))
"""What a kernel notes for itself; what it reads again in a lower layer (opaque directories) is part of the content."""
_READABLE: Final = "/+,:=@~!$&'()*[]"
_MAX_SHOWN: Final = 50
MOST_BYTES: Final = 16 << 30
"""In the files of one, holes included: all of them are read, and whoever wrote them may mean harm."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Between what a tree should be and what it is."""

    path: str
    what: str  #: missing, added, changed


def listing(top: Path) -> list[str]:
    """A line for each entry: kind, mode, owner, group, content, attributes, path. The times are left out."""
    return sorted(
        (_line(found, directory, name, path) for directory, name, path, found in _entries(top)), key=_path_of
    )


def digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def store(lines: Sequence[str], file: Path) -> None:
    """The same lines make the same bytes."""
    file.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def load(file: Path) -> list[str]:
    return gzip.decompress(file.read_bytes()).decode().split("\n")


def differences(expected: Sequence[str], found: Sequence[str]) -> list[Difference]:
    """At most fifty."""
    before, after = ({_path_of(line): line for line in lines} for lines in (expected, found))
    changed = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    return [
        Difference(path=path, what="missing" if path not in after else "added" if path not in before else "changed")
        for path in changed[:_MAX_SHOWN]
    ]


def settle(top: Path, *, epoch: int, shift: int = 0) -> int:
    """Gives all of it to the ids that they are inside a namespace whose ids begin at `shift`, and sets later times
    back to `epoch`. Its bytes on the disk. Raises OSError where there are more bytes to read than `MOST_BYTES`."""
    size = to_read = 0
    for directory, name, path, found in _entries(top):
        to_read += found.st_size if stat.S_ISREG(found.st_mode) else 0
        if to_read > MOST_BYTES:
            raise OSError(errno.EFBIG, f"its files have more than {MOST_BYTES >> 30} GiB in them", path)
        if shift:
            _give(directory, name, found, -shift)
        if found.st_mtime > epoch:
            os.utime(name, (epoch, epoch), dir_fd=directory, follow_symlinks=False)
        size += found.st_blocks * 512 if found.st_nlink == 1 or stat.S_ISDIR(found.st_mode) else 0
    return size


def give(top: Path, *, shift: int) -> None:
    """The way back: to a namespace whose ids begin at `shift`."""
    for directory, name, _, found in _entries(top):
        _give(directory, name, found, shift)


def _entries(top: Path) -> Iterator[tuple[int, str, str, os.stat_result]]:
    """(descriptor of its directory, name in it, path below `top`, facts) of each, `top` itself included."""
    with contextlib.ExitStack() as closing:
        parent = os.open(top.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        closing.callback(os.close, parent)
        yield parent, top.name, "", os.stat(top.name, dir_fd=parent, follow_symlinks=False)
    for path, directories, files, directory in os.fwalk(top, follow_symlinks=False, onerror=_raise):
        below = os.path.relpath(path, top)
        for name in (*directories, *files):
            shown = name if below == "." else f"{below}/{name}"
            yield directory, name, shown, os.stat(name, dir_fd=directory, follow_symlinks=False)


def _raise(error: OSError) -> None:
    raise error


def _line(found: os.stat_result, directory: int, name: str, path: str) -> str:
    mode, owner = oct(stat.S_IMODE(found.st_mode))[2:], f"{found.st_uid} {found.st_gid}"
    kind, content = _content(found, directory, name)
    return f"{kind} {mode} {owner} {content} {_attributes(directory, name)} {_quoted(path or '.')}"


def _content(found: os.stat_result, directory: int, name: str) -> tuple[str, str]:
    if stat.S_ISREG(found.st_mode):
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(opened, "rb") as file:
            return "file", hashlib.file_digest(file, "sha256").hexdigest()
    if stat.S_ISLNK(found.st_mode):
        return "link", _quoted(os.readlink(name, dir_fd=directory))
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        kind = "whiteout" if found.st_rdev == 0 else "device"
        return kind, f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return {stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}[stat.S_IFMT(found.st_mode)], "-"


def _attributes(directory: int, name: str) -> str:
    path = f"/proc/self/fd/{directory}/{name}"
    names = [key for key in os.listxattr(path, follow_symlinks=False) if key not in _LEFT_OUT]
    words = [key.encode() + b"=" + os.getxattr(path, key, follow_symlinks=False) for key in sorted(names)]
    return hashlib.sha256(b"\0".join(words)).hexdigest()[:16] if words else "-"


def _quoted(text: str) -> str:
    return quote_from_bytes(os.fsencode(text), safe=_READABLE) or "-"


def _path_of(line: str) -> str:
    return line.rpartition(" ")[2]


def _give(directory: int, name: str, found: os.stat_result, by: int) -> None:
    """To ids that differ by so much; whose file it was not before stays as it is."""
    uid, gid = found.st_uid + by, found.st_gid + by
    if by < 0 and not (0 <= uid < 1 << 16 and 0 <= gid < 1 << 16):
        return  # the second name of one that was given already, or a whiteout
    if by > 0 and (found.st_uid >= 1 << 16 or found.st_gid >= 1 << 16):
        return
    path = f"/proc/self/fd/{directory}/{name}"
    capability = b""
    with contextlib.suppress(OSError):
        capability = os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode) and found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=directory)  # the kernel took these bits away
    if capability:
        os.setxattr(path, _CAPABILITY, _plain(capability), follow_symlinks=False)


def _plain(capability: bytes) -> bytes:
    """The attribute as it is for the root of whichever namespace mounts it, not of the one that wrote it."""
    (magic,) = struct.unpack_from("<I", capability)
    if magic >> 24 != 3 or len(capability) != 24:
        return capability
    return struct.pack("<I", 0x02000000 | magic & 0xFFFFFF) + capability[4:20]
