"""Which model the agent uses: the config's, unless somebody has chosen another one."""

import asyncio
from pathlib import Path
from typing import Final

from hyperhive.harness.onelinefile import OneLineFile
from hyperhive.protocol.agent import ModelSet
from hyperhive.protocol.settings import AgentSettings

PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,199}"


class Model:
    """The choice outlives harness and container, as a line in a file of the agent's state. It holds while the config
    offers that model."""

    def __init__(self, path: Path, settings: AgentSettings) -> None:
        self._path = path
        self._file = OneLineFile(path, PATTERN)
        self.current = default = settings.model
        self.warning = ""  #: why it is not what was chosen before
        try:
            chosen = self._file.read() or default
        except (OSError, ValueError) as error:
            self.warning = f"cannot read the chosen model from {path}: {_why(error)}; using {default}"
            return
        if settings.offers(chosen):
            self.current = chosen
        else:
            self.warning = f"the chosen model {chosen} is none that the config offers; using {default}"

    async def choose(self, model: str) -> ModelSet:
        """Use this model from now on. A choice that can't be kept still holds for this run, with a warning."""
        self.current = model
        try:
            await asyncio.to_thread(self._file.write, model)
        except OSError as error:
            warning = f"{model} holds until the harness restarts: cannot keep it in {self._path}: {_why(error)}"
            return ModelSet(model=model, warning=warning)
        return ModelSet(model=model)


def _why(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)
