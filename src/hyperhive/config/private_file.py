"""A file of the hive's own that holds secrets: readable by nobody else, replaced in one step."""

import os
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from hyperhive.protocol.faults import FaultError, FaultKind

T = TypeVar("T")

_MAX_BYTES: Final = 1 << 18


def read(path: Path, form: type[T], *, writer: str, remedy: str) -> T | None:
    """None without a file. Raises FaultError (`bad_config`), which does not say what the file holds."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be opened", remedy) from None
    try:
        return msgspec.json.decode(text, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _unreadable(path, f"it is not as `{writer}` writes it", remedy) from None


def write(path: Path, value: object) -> None:
    """In one step, for the hive's own eyes. Raises FaultError (`storage`), and then nothing was changed."""
    new = _unfinished(path)
    try:
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123 (a descriptor with its mode)
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise FaultError(FaultKind.STORAGE, f"cannot write {path}: {error.strerror}; nothing was changed") from None


def remove(path: Path) -> bool:
    """Whether there was one. Raises FaultError (`storage`)."""
    try:
        _unfinished(path).unlink(missing_ok=True)
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FaultError(FaultKind.STORAGE, f"cannot remove {path}: {error.strerror}; it is still there") from None
    return True


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _unreadable(path: Path, why: str, remedy: str) -> FaultError:
    return FaultError(FaultKind.BAD_CONFIG, f"cannot read {path}: {why}; {remedy}")
