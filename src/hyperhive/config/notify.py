"""Where the operator wants to be told: the targets in `notify.json` of the state directory. Their URLs are secrets."""

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from hyperhive.config import private_file
from hyperhive.protocol.notify import BY_DEFAULT, NotifyKind

MAX_TARGETS: Final = 20
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
    """None of them without a file. Raises FaultError (`bad_config`), which does not say what the file holds."""
    remedy = "put it right or remove it"
    return private_file.read(path, list[Target], writer="hive notify add", remedy=remedy) or []
