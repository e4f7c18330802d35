"""Which of claude's conversations is the agent's: it survives turns, dozing and restarts."""

from pathlib import Path
from typing import Final

from hyperhive.harness.onelinefile import OneLineFile

PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9-]{7,63}"


class Session:
    """Where it can't be kept the conversation ends with the runner; `warning` says why."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = OneLineFile(path, PATTERN)
        self.id: str | None = None
        self.warning = ""
        try:
            self.id = self._file.read()
        except (OSError, ValueError) as error:
            self._warn(error)

    def is_now(self, session_id: str) -> None:
        if session_id and session_id != self.id:
            self.id = session_id
            try:
                self._file.write(session_id)
            except OSError as error:
                self._warn(error)

    def forget(self) -> None:
        """The next turn begins a new conversation."""
        self.id = None
        try:
            self._file.remove()
        except OSError as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) else str(error)
        self.warning = f"the conversation's id is not kept in {self._path}: {why}"
