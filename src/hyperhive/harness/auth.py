"""What is known of claude's login without asking anybody: from the file that it is kept in, but never its tokens."""

import os
import stat
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, structs

from hyperhive.harness.payload import redact
from hyperhive.protocol.agent import Auth, AuthState

MAX_FILE: Final = 64 * 1024
MAX_NOTE: Final = 500
_LATEST: Final = 2.0**37


class _Login(Struct, frozen=True, rename="camel"):
    """As claude writes it; times in milliseconds. A login that it could not renew has empty tokens."""

    access_token: str = ""
    refresh_token: str | None = ""
    expires_at: float | None = None
    refresh_token_expires_at: float | None = None

    def __repr__(self) -> str:
        return "_Login()"


class _File(Struct, frozen=True):
    login: _Login | None = msgspec.field(name="claudeAiOauth", default=None)


def stored(path: Path) -> Auth:
    """What claude's file says. One that is none, is of unknown shape or too large, has no login."""
    try:
        login = msgspec.json.decode(_read(path), type=_File).login
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        login = None
    if login is None:
        return Auth(state=AuthState.NONE)
    there = bool(login.access_token or login.refresh_token)
    return Auth(
        state=AuthState.OK if there else AuthState.RENEWAL_FAILED,
        renews_at=_seconds(login.expires_at),
        valid_until=_seconds(login.refresh_token_expires_at) if login.refresh_token else _seconds(login.expires_at),
    )


def auth(kept: Auth, *, has_other: bool, refused: str) -> Auth:
    """What claude gets in by: what it keeps, unless it has another credential; and what was said when that was
    refused, in claude's words."""
    found = Auth(state=AuthState.OK) if has_other else kept
    if refused and found.state == AuthState.OK:
        note = redact(refused.encode()).decode(errors="replace")[:MAX_NOTE]
        return structs.replace(found, state=AuthState.REFUSED, note=note)
    return found


def _read(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:  # noqa: PTH123 (the descriptor decides what is opened)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        text = file.read(MAX_FILE + 1)
    return text if len(text) <= MAX_FILE else b""


def _seconds(milliseconds: float | None) -> float:
    return min(max(milliseconds or 0.0, 0.0) / 1000, _LATEST)
