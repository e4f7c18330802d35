"""agent.toml: what the operator or the manager writes about an agent, into the settings its harness gets."""

import contextlib
import errno
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from hyperhive.config.beneath import read_beneath
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import DEFAULT_MODEL, AgentSettings

FILE: Final = "agent.toml"
MAX_BYTES: Final = 256 * 1024

_SEED_HEAD: Final = """\
# What this agent is. `hive rebuild NAME` puts a change into effect.
# See docs/agent-toml.md for every key.

"""


def parse(text: str) -> AgentSettings:
    """The settings; raises FaultError (`bad_config`) that says where the text is wrong."""
    try:
        return msgspec.convert(_keys(tomllib.loads(text)), AgentSettings)
    except tomllib.TOMLDecodeError as error:
        raise _bad(str(error)) from None
    except RecursionError:
        raise _bad("it is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise _bad(str(error).replace(" - at `$.", " - at `")) from None


def load(directory: Path) -> AgentSettings:
    """The settings of the agent.toml in a directory that an agent may write; defaults when there is none.

    Raises FaultError (`bad_config`) for a file that is not plain, not small, not UTF-8 or not right.
    """
    return parse(_read(directory))


def deploy(proposed: Path, applied: Path, *, check: Callable[[AgentSettings], None] = lambda _: None) -> AgentSettings:
    """Check the proposed agent.toml and put exactly that text in the applied directory, whole or not at all.

    `check` looks at what the schema can't and raises FaultError (`bad_config`).
    """
    text = _read(proposed)
    settings = parse(text)
    check(settings)
    temporary = applied / f".{FILE}"
    temporary.write_text(text)
    temporary.replace(applied / FILE)
    return settings


def seed(directory: Path, *, model: str | None, description: str) -> None:
    """Write a first agent.toml for a new agent; one that is there is kept."""
    lines = [_SEED_HEAD]
    if description:
        lines.append(f"description = {_quoted(description)}\n")
    lines.append(f"model = {_quoted(model or DEFAULT_MODEL)}\n")
    whole = directory / f".{FILE}.new"
    whole.write_text("".join(lines))
    with contextlib.suppress(FileExistsError):
        os.link(whole, directory / FILE)
    whole.unlink()


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are a part of TOML's."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def _read(directory: Path) -> str:
    try:
        return read_beneath(directory, FILE, MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise _bad(f"not UTF-8 at byte {error.start}") from None
    except OSError as error:
        if error.errno == errno.ENOENT:
            return ""
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else str(error.strerror)
        raise _bad(f"cannot open it: {reason}; put a plain file of at most {MAX_BYTES} bytes in its place") from None


def _keys(table: dict[str, Any]) -> dict[str, Any]:
    """TOML's customary dashes in keys mean the same as underscores, at the top and in the tables of ours."""
    return {key.replace("-", "_"): value for key, value in table.items()}


def _bad(reason: str) -> FaultError:
    return FaultError(FaultKind.BAD_CONFIG, f"cannot use {FILE}: {reason}")
