"""Where the machine itself gets Debian's packages from: its apt sources, without those of anybody else.

Pure but for `read`. What is signed by another than Debian, or is no part of the release, is left out: an agent's
packages come from where the names in `packages.apt` mean what everybody thinks.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.protocol.faults import FaultError, FaultKind

_PLAIN_KEYS: Final = ("/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d", "/usr/share/keyrings")
_LINE: Final = re.compile(r"deb(?:\s+\[(?P<options>[^]]*)\])?\s+(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)")
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """A stanza of one."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    def stanza(self) -> str:
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
            *([f"Signed-By: {self.signed_by}"] if self.signed_by else []),
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """All that a base is made from."""

    suite: str
    stanzas: tuple[Source, ...]

    def text(self) -> str:
        """As a file of apt's."""
        return "\n".join(source.stanza() for source in self.stanzas)


def read(own: Path, root: Path = Path("/")) -> Sources:
    """The hive's own file where there is one, as it is; else what the machine uses of its Debian release.

    Raises FaultError (`backend`) that says what to write where.
    """
    if own.is_file():
        found = tuple(parse(_text(own)))
        if found:
            return Sources(suite=found[0].suites[0], stanzas=found)
        raise _unusable(own, f"{own} names no source of packages")
    release = _release(root)
    if release.get("ID") != "debian" or not release.get("VERSION_CODENAME"):
        raise _unusable(own, f"this machine is no Debian but {release.get('ID') or 'something unknown'}")
    suite = release["VERSION_CODENAME"]
    etc = root / "etc/apt"
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    files += sorted((etc / "sources.list.d").glob("*.sources"))
    stanzas = [kept for file in files if file.is_file() for kept in _of_debian(parse(_text(file)), suite)]
    if not any(suite in stanza.suites for stanza in stanzas):
        raise _unusable(own, f"no apt source of this machine has Debian's {suite} with its main component")
    return Sources(suite=suite, stanzas=tuple(stanzas))


def parse(text: str) -> Iterator[Source]:
    """Sources in either of apt's formats; what is switched off or for source packages is left out."""
    if re.search(r"^Types:", text, re.MULTILINE | re.IGNORECASE):
        yield from _stanzas(text)
        return
    for line in text.splitlines():
        if match := _LINE.match(line.strip()):
            options = dict(_pair(word) for word in str(match["options"] or "").split())
            yield Source(
                uris=(match["uri"],),
                suites=(match["suite"],),
                components=tuple(match["components"].split()),
                signed_by=options.get("signed-by", ""),
            )


def _stanzas(text: str) -> Iterator[Source]:
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for block in re.split(r"\n\s*\n", without_comments):
        fields = _fields(block)
        if (
            fields.get("enabled", "yes").lower() in ("no", "false", "0")
            or "deb" not in fields.get("types", "").split()
        ):
            continue
        yield Source(
            uris=tuple(fields.get("uris", "").split()),
            suites=tuple(fields.get("suites", "").split()),
            components=tuple(fields.get("components", "").split()),
            signed_by=fields.get("signed-by", ""),
        )


def _fields(block: str) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in block.splitlines():
        if line[:1].isspace() and key:
            fields[key] += f"\n{line}"
        elif ":" in line:
            key, value = line.split(":", 1)
            key = key.strip().lower()
            fields[key] = value.strip()
    return fields


def _of_debian(sources: Iterator[Source], release: str) -> Iterator[Source]:
    ours = {release, f"{release}-updates", f"{release}-security", f"{release}/updates"}
    for source in sources:
        suites = tuple(suite for suite in source.suites if suite.rstrip("/") in ours)
        if suites and "main" in source.components and _is_debians(source.signed_by):
            yield Source(uris=source.uris, suites=suites, components=source.components, signed_by=source.signed_by)


def _is_debians(signed_by: str) -> bool:
    """Keys that are named must be Debian's; where none are named, the machine trusts its own for all."""
    if not signed_by:
        return True
    file = Path(signed_by)
    return str(file.parent) in _PLAIN_KEYS and file.name.startswith("debian-archive-")


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _release(root: Path) -> Mapping[str, str]:
    file = root / "etc/os-release"
    pairs = (_pair(line) for line in _text(file).splitlines()) if file.is_file() else ()
    return {key: value.strip("\"'") for key, value in pairs}


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_MAX_BYTES).decode(errors="replace")


def _unusable(own: Path, why: str) -> FaultError:
    return FaultError(
        FaultKind.BACKEND,
        f"cannot make images: {why}; write a Debian source into {own}, such as `deb http://deb.debian.org/debian "
        "stable main`",
    )
