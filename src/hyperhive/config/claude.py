"""Where the `claude` binary is."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from hyperhive.protocol.faults import FaultError, FaultKind


def find(environ: Mapping[str, str]) -> Path:
    """The binary that agents run: HYPERHIVE_CLAUDE, else the one of the SDK's package, else the one on PATH.

    Raises FaultError (`backend`) when there is none or it cannot be executed.
    """
    named = environ.get("HYPERHIVE_CLAUDE")
    candidates = [Path(named)] if named else [*_bundled(), *_on_path(environ)]
    for path in candidates:
        if os.access(path, os.X_OK) and path.is_file():
            return path.resolve()
    where = f"{named} (HYPERHIVE_CLAUDE)" if named else "the claude-agent-sdk package or on PATH"
    raise FaultError(
        FaultKind.BACKEND,
        f"cannot find an executable claude in {where}; install the package again (make install), "
        "or set HYPERHIVE_CLAUDE to the binary's path",
    )


def _bundled() -> list[Path]:
    spec = importlib.util.find_spec("claude_agent_sdk")
    return [] if spec is None or spec.origin is None else [Path(spec.origin).parent / "_bundled" / "claude"]


def _on_path(environ: Mapping[str, str]) -> list[Path]:
    found = shutil.which("claude", path=environ.get("PATH", ""))
    return [Path(found)] if found else []
