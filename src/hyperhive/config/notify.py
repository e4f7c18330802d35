"""Where the operator wants to be told: the targets in `notify.json` of the state directory. Their URLs are secrets."""

import contextlib
import os
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.notify import BY_DEFAULT, NotifyKind

MAX_TARGETS: Final = 20
_MAX_BYTES: Final = 1 << 18
_WITH_HOST: Final = frozenset({"http", "https", "json", "jsons", "xml", "xmls", "form", "forms", "ntfy", "ntfys",
                               "gotify", "gotifys", "mailto", "mailtos", "matrix", "matrixs"})  # fmt: skip
"""Schemes whose URLs have a host where others have a key."""
_WITH_TOPIC: Final = frozenset({"ntfy", "ntfys"})
"""Of them, those that may have a key there all the same, unless a path follows."""


class Target(Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    kinds: list[NotifyKind] = []  #: none: what a target is for by default, in this version and in later ones

    def __repr__(self) -> str:
        return f"Target(name={self.name!r}, url={self.shown!r})"

    @property
    def is_for(self) -> list[NotifyKind]:
        return self.kinds or list(BY_DEFAULT)

    @property
    def shown(self) -> str:
        return redacted(self.url)


def redacted(url: str) -> str:
    """Its scheme, and its host where that is surely no key: all of a target's URL that anybody is shown."""
    scheme, there, _ = url.partition("://")
    if not there or not re.fullmatch(r"[a-z][a-z0-9+.-]{0,30}", scheme, re.IGNORECASE):
        return "…"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return f"{scheme}://…"
    is_host = scheme.lower() in _WITH_HOST and re.fullmatch(
        r"[a-z0-9-]+(\.[a-z0-9-]+)+|localhost|[0-9a-f:]*:[0-9a-f:]*", host
    )
    if not is_host or (scheme.lower() in _WITH_TOPIC and not parts.path.strip("/")):
        return f"{scheme}://…"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}/…"


def read(path: Path) -> list[Target]:
    """None without a file. Raises FaultError (`bad_config`), which does not say what the file holds."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be opened") from None
    try:
        return msgspec.json.decode(text, type=list[Target])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _unreadable(path, "it is not a list of targets as `hive notify add` writes it") from None


def write(path: Path, targets: list[Target]) -> None:
    """In one step, for the hive's own eyes. Raises FaultError (`storage`)."""
    new = path.with_name(f".{path.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123 (a descriptor with its mode)
            file.write(msgspec.json.encode(targets))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise FaultError(FaultKind.STORAGE, f"cannot write {path}: {error.strerror}; nothing was changed") from None


def _unreadable(path: Path, why: str) -> FaultError:
    return FaultError(FaultKind.BAD_CONFIG, f"cannot read {path}: {why}; put it right or remove it")
