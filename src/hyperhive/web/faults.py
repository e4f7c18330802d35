"""Which status of HTTP a fault is, and which fault a status is that no handler chose."""

from typing import Final

from msgspec import Struct, json

from hyperhive.protocol.faults import FaultKind

_UNKNOWN: Final = frozenset(kind for kind in FaultKind if kind.startswith("unknown_"))
_STATUS: Final = {
    FaultKind.MALFORMED: 400,
    FaultKind.INVALID_PARAMS: 400,
    FaultKind.BAD_NAME: 400,
    FaultKind.RESERVED_NAME: 400,
    FaultKind.BAD_CONFIG: 400,
    FaultKind.NOT_ALLOWED: 403,
    FaultKind.BODY_TOO_LONG: 413,
    FaultKind.LINE_TOO_LONG: 413,
    FaultKind.INBOX_FULL: 429,
    FaultKind.TOO_FAST: 429,
    FaultKind.INTERNAL: 500,
    FaultKind.BACKEND: 502,
    FaultKind.STORAGE: 503,
    FaultKind.UNAVAILABLE: 503,
}
_KIND: Final = {
    401: FaultKind.NOT_ALLOWED,
    403: FaultKind.NOT_ALLOWED,
    404: FaultKind.UNKNOWN_METHOD,
    405: FaultKind.UNKNOWN_METHOD,
    408: FaultKind.UNAVAILABLE,
    413: FaultKind.BODY_TOO_LONG,
    415: FaultKind.MALFORMED,
    421: FaultKind.NOT_ALLOWED,
    429: FaultKind.TOO_FAST,
    503: FaultKind.UNAVAILABLE,
}


class Refusal(Struct, frozen=True, kw_only=True):
    kind: str  #: a FaultKind
    message: str  #: what could not be done, and what to do


class Refused(Struct, frozen=True, kw_only=True):
    """What the API answers when it does not do what it was asked."""

    error: Refusal


def status_of(kind: FaultKind) -> int:
    """What is possible but not now is a conflict, unless it is something else."""
    return 404 if kind in _UNKNOWN else _STATUS.get(kind, 409)


def kind_of(status: int) -> FaultKind:
    return _KIND.get(status, FaultKind.INTERNAL if status >= 500 else FaultKind.INVALID_PARAMS)


def as_json(kind: FaultKind, message: str) -> bytes:
    return json.encode(Refused(error=Refusal(kind=kind, message=message)))
