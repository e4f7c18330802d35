"""Where the runner is: the paths and variables that it was started with."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from hyperhive.protocol.settings import TOOL_GROUPS, AgentDocument

MAX_DOCUMENT: Final = 1 << 20
"""Bytes of `agent.json`."""

PROXY_PORT: Final = 3128
REHEARSAL_PORT: Final = 3129
"""Where on the container's loopback the hive's sockets are reached; 0 in the environment takes a free port."""

MODELS_ADDRESS: Final = "ANTHROPIC_BASE_URL"
CREDENTIALS: Final = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", MODELS_ADDRESS, "CLAUDE_CODE_OAUTH_TOKEN",
)  # fmt: skip
"""Variables that the hive may have given to this container, and that claude gets as they are."""


class UnusableError(Exception):
    """What the runner was given to start with can't be used; the text says what to change."""


class Surroundings(Struct, frozen=True, kw_only=True):
    socket: Path
    config: Path
    state: Path
    claude: Path
    home: Path
    claude_config: Path
    tmp: Path
    path: str
    lang: str
    proxy_socket: Path | None
    proxy_port: int
    rehearsal_socket: Path | None
    rehearsal_port: int
    model_file: Path
    session_file: Path
    recall_file: Path
    events_db: Path
    credentials: dict[str, str]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Surroundings":
        """Raises UnusableError when a variable is missing or is not a port."""

        def needed(name: str) -> Path:
            if not env.get(name):
                raise UnusableError(f"cannot start the harness: {name} is not set")
            return Path(env[name])

        def perhaps(name: str) -> Path | None:
            return Path(env[name]) if env.get(name) else None

        def port(name: str, usual: int) -> int:
            text = env.get(name) or str(usual)
            if not (text.isascii() and text.isdigit() and int(text[:6]) < 65536):
                raise UnusableError(f"cannot start the harness: {name} is {text[:40]!r}, which is not a port")
            return int(text)

        state, home = needed("HYPERHIVE_STATE"), needed("HOME")
        return cls(
            socket=needed("HYPERHIVE_SOCKET"),
            config=needed("HYPERHIVE_AGENT_CONFIG"),
            state=state,
            claude=needed("HYPERHIVE_CLAUDE"),
            home=home,
            claude_config=perhaps("CLAUDE_CONFIG_DIR") or home / ".claude",
            tmp=Path(env.get("TMPDIR") or "/tmp"),
            path=env.get("PATH") or "/usr/local/bin:/usr/bin:/bin",
            lang=env.get("LANG") or "C.UTF-8",
            proxy_socket=perhaps("HYPERHIVE_PROXY_SOCKET"),
            proxy_port=port("HYPERHIVE_PROXY_PORT", PROXY_PORT),
            rehearsal_socket=perhaps("HYPERHIVE_REHEARSAL_SOCKET"),
            rehearsal_port=port("HYPERHIVE_REHEARSAL_PORT", REHEARSAL_PORT),
            model_file=perhaps("HYPERHIVE_MODEL_FILE") or state / "hyperhive-model",
            session_file=state / "hyperhive-session",
            recall_file=state / "hyperhive-recall",
            events_db=perhaps("HYPERHIVE_EVENTS_DB") or state / "hyperhive-events.sqlite",
            credentials={name: env[name] for name in CREDENTIALS if env.get(name)},
        )

    @property
    def claude_tmp(self) -> Path:
        """Claude's own, as nothing else may put files there."""
        return self.tmp / "hyperhive-claude"

    def enter(self) -> None:
        """Work in the agent's state from now on, as claude will; raises UnusableError."""
        try:
            os.chdir(self.state)
            self.claude_tmp.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UnusableError(f"cannot start the harness: {error.filename}: {error.strerror}") from error


def read_document(path: Path) -> AgentDocument:
    """The agent's settings as the hive wrote them; raises UnusableError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
        if len(data) > MAX_DOCUMENT:
            raise UnusableError(f"cannot use {path}: it is larger than {MAX_DOCUMENT} bytes")
        return msgspec.json.decode(data, type=AgentDocument)
    except OSError as error:
        raise UnusableError(f"cannot read the agent's settings {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise UnusableError(f"cannot use the agent's settings {path}: {error}") from error


def tool_groups(document: AgentDocument) -> Sequence[str]:
    """The groups of the hive's tools that the agent has beside those of everyone."""
    by_role = TOOL_GROUPS if document.settings.role == "manager" else ()
    return [*dict.fromkeys((*by_role, *document.tool_groups))]
