"""Debian's packages on the host: lists, what a set of packages needs, and the files of those, fetched and checked.

It runs the host's own apt, with the host's ways to the network (proxies, passwords), over directories of its own. So
what is executed in a container that packages are installed in needs no network at all.
"""

import asyncio
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from hyperhive.images.sources import Sources
from hyperhive.process import PLAIN_ENV, CommandFailed, Finished, run
from hyperhive.protocol.faults import FaultError, FaultKind

UPDATE_S: Final = 600.0
RESOLVE_S: Final = 120.0
DOWNLOAD_S: Final = 1800.0
FRESH_S: Final = 12 * 3600.0
"""How old package lists may be before they are fetched again."""
KEPT_DEBS: Final = 2 << 30
"""Bytes of downloads that are kept for the next layer."""

_ENV: Final[Mapping[str, str]] = {**PLAIN_ENV, "DEBIAN_FRONTEND": "noninteractive"}
_SECTION: Final = re.compile(
    r"^The following (?:NEW )?packages will be (?:installed|upgraded|DOWNGRADED):\n((?: .*\n)+)", re.M
)
_PACKAGE: Final = re.compile(r"^ +(\S+) \((?:\S+ => )?(\S+)\)$", re.MULTILINE)
_DATE: Final = re.compile(r"^Date: (.+)$", re.MULTILINE)
_WAYS: Final = re.compile(
    r'^(Acquire::(?:https?::Proxy(?:::\S+)?|Check-Valid-Until|Check-Date)) "([^"\n]*)";$', re.MULTILINE
)
_CONFIG: Final = """\
Dir::State "{place}/state";
Dir::State::Lists "{place}/lists";
Dir::State::status "{place}/status";
Dir::Cache "{place}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::sourcelist "{place}/sources.list.d/hive.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "{place}/log";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
APT::Get::Assume-Yes "true";
APT::Cmd::Pattern-Only "true";
Acquire::Languages "none";
Acquire::Retries "2";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
"""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One that a set of packages makes necessary, and its file."""

    name: str
    version: str
    file: Path


class Apt:
    """One at a time: apt locks its directories, and fails rather than wait."""

    def __init__(self, place: Path) -> None:
        self._place = place

    @property
    def sources_file(self) -> Path:
        return self._place / "sources.list.d/hive.sources"

    @property
    def debs(self) -> Path:
        return self._place / "cache/archives"

    async def prepare(self, sources: Sources) -> None:
        """Raises FaultError (`backend`) when this machine has no apt."""
        if await asyncio.to_thread(shutil.which, "apt-get", path=_ENV["PATH"]) is None:
            raise FaultError(FaultKind.BACKEND, "cannot fetch packages: this machine has no apt-get; install apt")
        await asyncio.to_thread(self._prepare, sources)

    async def update(self, *, older_than_s: float = 0.0) -> None:
        """Fetches the lists unless they are younger than that. Raises CommandFailed."""
        if await asyncio.to_thread(self._age) > older_than_s:
            await self._apt_get("update", "-q", "-o", "APT::Update::Error-Mode=any", timeout=UPDATE_S)
            await asyncio.to_thread((self._place / "updated").touch)

    async def fetch(self, names: Sequence[str], status: Path) -> list[Package]:
        """All that must be installed for these names where `status` (dpkg's) says what is there.

        Their files are then in `debs`, checked against the signed lists. Raises CommandFailed.
        """
        over = ("-o", f"Dir::State::status={status}")
        done = await self._apt_get("install", "--download-only", "-qV", *over, "--", *names, timeout=DOWNLOAD_S)
        return await asyncio.to_thread(self._fetched, done.text())

    async def ways(self) -> list[str]:
        """How the host reaches its sources, as lines of apt's configuration: with passwords, maybe."""
        dump = await run(["apt-config", "dump"], timeout=RESOLVE_S, env=_ENV)
        return [f'{key} "{value}";' for key, value in _WAYS.findall(dump.text())]

    def epoch(self) -> int:
        """When the newest of the lists was made (Unix seconds): the same lists give the same time on every machine."""
        dates = []
        for file in sorted((self._place / "lists").glob("*Release")):
            with file.open(errors="replace") as opened:
                match = _DATE.search(opened.read(1 << 16))
            dates += [int(parsedate_to_datetime(match[1]).timestamp())] if match else []
        if not dates:
            raise FaultError(FaultKind.BACKEND, "cannot make images: apt has fetched no list of packages")
        return max(dates)

    def tidy(self) -> None:
        """Deletes the oldest downloads above a bound."""
        files = sorted(self.debs.glob("*.deb"), key=lambda file: file.stat().st_atime, reverse=True)
        kept = 0
        for file in files:
            kept += file.stat().st_size
            if kept > KEPT_DEBS:
                file.unlink()

    async def _apt_get(self, *words: str, timeout: float) -> Finished:
        argv = ["apt-get", "-c", str(self._place / "apt.conf"), *words]
        return await run(argv, timeout=timeout, env=_ENV, max_output=4 << 20)

    def _prepare(self, sources: Sources) -> None:
        for name in ("state", "lists/partial", "cache/archives/partial", "log", "sources.list.d"):
            (self._place / name).mkdir(parents=True, exist_ok=True)
        (self._place / "status").touch()
        text = sources.text()
        if not self.sources_file.is_file() or self.sources_file.read_text() != text:
            (self._place / "updated").unlink(missing_ok=True)
            self.sources_file.write_text(text)
        (self._place / "apt.conf").write_text(_CONFIG.format(place=self._place))

    def _fetched(self, said: str) -> list[Package]:
        wanted = [found for section in _SECTION.findall(said) for found in _PACKAGE.findall(section)]
        return [Package(name=name, version=version, file=self._deb(name, version)) for name, version in wanted]

    def _deb(self, name: str, version: str) -> Path:
        stem = f"{name.partition(':')[0]}_{version.replace(':', '%3a')}_"
        found = [file for file in self.debs.iterdir() if file.name.startswith(stem) and file.suffix == ".deb"]
        if not found:
            raise FaultError(
                FaultKind.BACKEND, f"cannot install {name}: apt says that it fetched {version}, and did not"
            )
        return found[0]

    def _age(self) -> float:
        try:
            return time.time() - (self._place / "updated").stat().st_mtime
        except FileNotFoundError:
            return float("inf")


def last_words(error: CommandFailed) -> str:
    """apt's own, without the lines that say nothing."""
    lines = [line.removeprefix("E: ") for line in error.last_words.splitlines() if line.startswith(("E:", "W:"))]
    return "; ".join(line for line in lines if not line.startswith("W:")) or error.last_words or error.reason
