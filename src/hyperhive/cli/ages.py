"""How long ago, in the shortest words."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def age(at: str) -> str:
    """Of an RFC 3339 time."""
    return age_at(at, datetime.now(UTC))


def left(at: str) -> str:
    """Until an RFC 3339 time; `now` when it has come."""
    return left_at(at, datetime.now(UTC))


def age_at(at: str, now: datetime) -> str:
    """A text that is no time stays as it is."""
    then = _read(at)
    return at if then is None else span((now - then).total_seconds())


def left_at(at: str, now: datetime) -> str:
    then = _read(at)
    if then is None:
        return at
    seconds = (then - now).total_seconds()
    return f"in {span(seconds)}" if seconds > 0 else "now"


def span(seconds: float) -> str:
    """In its largest unit; what is negative counts as nothing: clocks differ."""
    whole = max(0, int(seconds))
    size, name = next(((size, name) for size, name in _UNITS if whole >= size), (1, "s"))
    return f"{whole // size} {name}"


def _read(at: str) -> datetime | None:
    try:
        then = datetime.fromisoformat(at)
    except ValueError:
        return None
    return then if then.tzinfo else then.replace(tzinfo=UTC)
