"""The harness's layer: hyperhive's part inside and what it imports, in a venv of its own at /opt/hyperhive.

It is filled from the packages that this very process runs with, which are those that were tested together. Where the
base has another Python than the host, the compiled ones among them do not fit: those versions are then fetched by pip
for the base's Python, and checked against the hashes of the lock file. claude is not in it: it is mounted.
"""

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath
from typing import Final

import hyperhive
from hyperhive.images import tree
from hyperhive.images.made import MAKING, ROOT, Draft, Kind, Made, draft
from hyperhive.images.workshop import FIRST_UID, Say, Workshop
from hyperhive.process import PLAIN_ENV, run
from hyperhive.protocol.faults import FaultError, FaultKind

PLACE: Final = PurePosixPath("/opt/hyperhive")
PYTHON: Final = PLACE / "bin/python"
BUILD_S: Final = 600.0
FETCH_S: Final = 900.0

_NEEDED: Final = ("msgspec", "claude-agent-sdk")
_OWN: Final = ("protocol", "harness")
_LEFT_OUT: Final = ("__pycache__", "_bundled")
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^]]*)\])?")
_FOR_EXTRA: Final = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_COMPILE: Final = (
    'set -e; cd /; "$1" -I -m compileall -q --invalidation-mode unchecked-hash /opt/hyperhive/lib; '
    'exec "$2" -I -B -c "import hyperhive.harness.runner, hyperhive.harness.worker, hyperhive.harness.assembly"'
)
"""What is compiled now is not compiled at every start: the agent cannot write there."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What goes into site-packages: (path there, file here)."""

    files: tuple[tuple[str, Path], ...]
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def of_this_process(cls) -> "Contents":
        """Reads what is installed: call it off the loop."""
        distributions = sorted(_closure(), key=lambda found: found.name)
        files = [pair for found in distributions for pair in _files(found)]
        return cls(
            files=tuple(sorted((*files, *_own()))),
            versions=tuple((found.name, found.version) for found in distributions),
        )

    def id(self, python: str) -> str:
        """The same for the same content; reads all of it."""
        said = hashlib.sha256(f"{MAKING} {python}\n".encode())
        for path, file in self.files:
            said.update(path.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
        return said.hexdigest()[:12]


async def build(
    work: Path, parent: Path, contents: Contents, id: str, *, base: Made, workshop: Workshop, say: Say, epoch: int
) -> Made:
    """In `work`, which is empty. Raises CommandFailed, FaultError, OSError."""
    began, python = time.time(), base.manifest.python
    upper = work / ROOT
    await asyncio.to_thread(_venv, upper, python)
    site = upper / f"{PLACE.relative_to('/')}/lib/{python}/site-packages"
    if python == f"python3.{sys.version_info.minor}":
        await asyncio.to_thread(_copy, contents.files, site)
    else:
        await say(f"fetching the harness's packages for {python}, which is not the host's")
        await fetch(contents, site, python)
        await asyncio.to_thread(_copy, tuple(_own()), site)
    await asyncio.to_thread(_open_up, upper)
    await asyncio.to_thread(tree.give, upper, shift=FIRST_UID)
    words = ("/bin/sh", "-c", _COMPILE, "sh", f"/usr/bin/{python}", str(PYTHON))
    env = {**PLAIN_ENV, "SOURCE_DATE_EPOCH": str(epoch), "HOME": "/nonexistent"}
    await workshop.inside(
        words, layers=[base.root], upper=upper, work=work, shown={}, env=env, timeout_s=BUILD_S, say=say
    )
    finished = Draft(work=work, epoch=epoch, began=began, shift=FIRST_UID)
    return await finished.finish(
        draft(
            Kind.HARNESS, id, packages={"hyperhive": hyperhive.__version__, **dict(contents.versions)}, python=python
        ),
        parent,
    )


async def fetch(contents: Contents, site: Path, python: str) -> None:
    """The versions that this process has, for another Python, into `site`. Raises FaultError, CommandFailed."""
    if importlib.util.find_spec("pip") is None:
        raise FaultError(
            FaultKind.BACKEND,
            f"cannot make the harness's layer: the base has {python}, the hive python3.{sys.version_info.minor}, and "
            f"there is no pip to fetch packages with; install pip beside hyperhive, or run hyperhive with {python}",
        )
    with tempfile.TemporaryDirectory() as place:
        wanted = Path(place) / "wanted.txt"
        await asyncio.to_thread(_write_wanted, wanted, contents.versions)
        machine = os.uname().machine
        argv = [
            *(sys.executable, "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--no-compile", "--only-binary=:all:", "--target", str(site)),
            *("--implementation", "cp", "--python-version", python.removeprefix("python")),
            *(word for glibc in (17, 28, 34) for word in ("--platform", f"manylinux_2_{glibc}_{machine}")),
            *("--platform", f"manylinux2014_{machine}", "-r", str(wanted)),
        ]
        await run(argv, timeout=FETCH_S, env={**PLAIN_ENV, "HOME": place})
    await asyncio.to_thread(_strip, site)


def _venv(upper: Path, python: str) -> None:
    """As `python3 -m venv --without-pip` makes one, with the base's Python."""
    top = upper / PLACE.relative_to("/")
    (top / f"lib/{python}/site-packages").mkdir(parents=True)
    (top / "bin").mkdir()
    for name in ("python", "python3", python):
        (top / "bin" / name).symlink_to(f"/usr/bin/{python}")
    version = python.removeprefix("python")
    (top / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n")


def _open_up(upper: Path) -> None:
    """Agents read it, whatever the hive keeps to itself."""
    for path, _, files in os.walk(upper):
        Path(path).chmod(0o755)
        for file in files:
            if not (Path(path) / file).is_symlink():
                (Path(path) / file).chmod(0o644)


def _closure() -> list[Distribution]:
    """What the harness imports, and what that needs, as it is installed here."""
    found: dict[str, Distribution] = {}
    wanted = [(name, "") for name in _NEEDED]
    seen: set[tuple[str, str]] = set()
    while wanted:
        name, extras = wanted.pop()
        if (_canonical(name), extras) in seen:
            continue
        seen.add((_canonical(name), extras))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in _NEEDED:
                raise
            continue  # for another system or an older Python; what is really missing shows when it is imported
        found[_canonical(name)] = distribution
        wanted += _requirements(distribution, {extra.strip() for extra in extras.split(",")})
    return list(found.values())


def _requirements(distribution: Distribution, extras: set[str]) -> Iterator[tuple[str, str]]:
    """(name, extras) of what it needs, with these extras of its own."""
    for line in distribution.requires or []:
        of_extra = _FOR_EXTRA.search(line)
        match = _REQUIREMENT.match(line)
        if match and (of_extra is None or of_extra[1] in extras):
            yield match[1], match[2] or ""


def _files(distribution: Distribution) -> Iterator[tuple[str, Path]]:
    for file in distribution.files or []:
        if ".." not in file.parts and not set(_LEFT_OUT) & set(file.parts):
            yield str(file), Path(str(file.locate()))


def _own() -> Iterator[tuple[str, Path]]:
    """Of hyperhive what an agent may see: the part that it runs."""
    top = Path(hyperhive.__file__).parent
    yield "hyperhive/__init__.py", top / "__init__.py"
    for name in _OWN:
        for file in sorted((top / name).rglob("*.py")):
            yield f"hyperhive/{file.relative_to(top)}", file


def _copy(files: tuple[tuple[str, Path], ...], site: Path) -> None:
    for path, file in files:
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _strip(site: Path) -> None:
    for name in ("bin", "claude_agent_sdk/_bundled"):
        shutil.rmtree(site / name, ignore_errors=True)


def _write_wanted(file: Path, versions: tuple[tuple[str, str], ...]) -> None:
    locked = _locked()
    lines = []
    for name, version in versions:
        wanted = f"{_canonical(name)}=={version}"
        if wanted not in locked:
            raise FaultError(
                FaultKind.BACKEND,
                f"cannot make the harness's layer: {wanted} is installed, which is not in hyperhive's lock file; "
                "install hyperhive with the versions it was released with (requirements/lock.txt)",
            )
        lines.append(f"{wanted} {locked[wanted]}")
    file.write_text("\n".join(lines) + "\n")


def _locked() -> dict[str, str]:
    """name==version -> its hashes, as pip takes them."""
    places = (Path(__file__).with_name("lock.txt"), Path(__file__).parents[3] / "requirements/lock.txt")
    text = next((place.read_text() for place in places if place.is_file()), "").replace("\\\n", " ")
    entries = [line.split() for line in text.splitlines() if line[:1].isalnum()]
    return {words[0]: " ".join(word for word in words[1:] if word.startswith("--hash=")) for words in entries}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
