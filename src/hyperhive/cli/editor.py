"""The operator's own editor."""

import os
import shlex
from pathlib import Path
from typing import Final

from hyperhive.cli.output import CliError

USUAL: Final = "vi"
NOT_FOUND: Final = 127


def edit(path: Path) -> None:
    """Open the file on this terminal and wait until it is closed. Raises CliError when that does not end well."""
    words = _command(os.environ.get("VISUAL") or os.environ.get("EDITOR") or USUAL)
    # The one child that has our terminal and our environment, because it is the operator's program and not the hive's.
    code = os.spawnvp(os.P_WAIT, words[0], [*words, str(path)])
    if code == NOT_FOUND:
        raise CliError(f"cannot start the editor {words[0]!r}: set EDITOR to one that is installed")
    if code != 0:
        raise CliError(f"the editor {words[0]!r} ended with {code}: nothing was proposed")


def _command(said: str) -> list[str]:
    try:
        return shlex.split(said) or [USUAL]
    except ValueError as error:
        raise CliError(f"cannot start the editor {said!r}: {error}; set EDITOR to a command") from None
