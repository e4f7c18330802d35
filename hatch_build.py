"""The build's one step of its own: htmx comes from npm, pinned, and into the package; the repository has no copy."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE: Final = "htmx.org@4.0.1"
INTEGRITY: Final = "sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg=="
FILES: Final = {
    "package/dist/htmx.min.js": "htmx.min.js",
    "package/LICENSE": "htmx.LICENSE",
}
FOLDER: Final = Path(__file__).parent / "src/hyperhive/web/static/vendor"
STAMP: Final = ".integrity"
ARCHIVE: Final = "HYPERHIVE_HTMX"
"""In the environment: the package as npm has it, already fetched, for a build that has no network."""
MAX_BYTES: Final = 4 << 20


class VendorHook(BuildHookInterface[Any]):
    """Runs for the wheel, the source distribution and the editable install alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """With the files there already, as in a source distribution, it needs neither npm nor a network."""
        if not is_complete(FOLDER):
            fetch(FOLDER)


def is_complete(folder: Path) -> bool:
    """Whether this version's files are all there."""
    stamp = folder / STAMP
    return (
        stamp.is_file() and stamp.read_text() == _stamp() and all((folder / name).is_file() for name in FILES.values())
    )


def fetch(folder: Path) -> None:
    """Put the files there, or end with what to do about it."""
    with tempfile.TemporaryDirectory() as place:
        given = os.environ.get(ARCHIVE)
        archive = Path(given) if given else _download(Path(place))
        _verify(archive)
        folder.mkdir(parents=True, exist_ok=True)
        _unpack(archive, folder)
    (folder / STAMP).write_text(_stamp())


def _download(place: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("hyperhive's pages need npm to be built; install it (Debian, Ubuntu: apt install npm)")
    argv = [npm, "pack", PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", str(place)]
    done = subprocess.run(argv, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    archives = [*place.glob("*.tgz")]
    if done.returncode or len(archives) != 1:
        raise SystemExit(
            f"cannot fetch {PACKAGE} with npm: {done.stderr.strip() or 'it gave no file'}; is there a network?"
        )
    return archives[0]


def _verify(archive: Path) -> None:
    if archive.stat().st_size > MAX_BYTES:
        raise SystemExit(f"cannot use {PACKAGE}: it is larger than {MAX_BYTES} bytes")
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != INTEGRITY:
        raise SystemExit(f"cannot use {PACKAGE}: what came is not what was reviewed ({found} instead of {INTEGRITY})")


def _unpack(archive: Path, folder: Path) -> None:
    """The files by name; nothing in the archive says where they go."""
    with tarfile.open(archive) as members:
        for member, name in FILES.items():
            content = members.extractfile(member)
            if content is None:
                raise SystemExit(f"cannot use {PACKAGE}: it has no {member}")
            made = folder / f".{name}.new"
            made.write_bytes(content.read())
            made.replace(folder / name)


def _stamp() -> str:
    return "\n".join([INTEGRITY, *FILES.values(), ""])
