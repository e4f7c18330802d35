"""Where a hive keeps its things: one tree that lasts, one that ends with the boot."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.protocol.faults import FaultError, FaultKind

STATE_VARIABLE: Final = "HYPERHIVE_STATE_DIR"
RUNTIME_VARIABLE: Final = "HYPERHIVE_RUNTIME_DIR"
SYSTEM_MARKS: Final = ("etc/hyperhive", "var/lib/hyperhive")
"""Either of them, below the root directory, is what a system install leaves behind."""
MAX_SOCKET_PATH: Final = 107
"""Bytes of a unix socket's path that the kernel takes."""


class PathsError(FaultError):
    """The environment names places that a hive cannot use; the text says which and what to set instead."""

    def __init__(self, message: str) -> None:
        super().__init__(FaultKind.BAD_CONFIG, message)


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The places of one hive. Makes and checks nothing on disk, but refuses socket paths the kernel would refuse."""

    state_dir: Path
    runtime_dir: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], euid: int, *, root: Path = Path("/")) -> "Paths":
        """The hive that this user runs: what the variables say, else the system's as root, else the user's own.

        `root` is where the system's directories are looked for. Raises PathsError.
        """
        default = _system(root) if euid == 0 and _is_system_install(root) else _own(environ, euid)
        paths = cls(
            state_dir=_named(environ, STATE_VARIABLE) or default.state_dir,
            runtime_dir=_named(environ, RUNTIME_VARIABLE) or default.runtime_dir,
        )
        paths.host_socket  # noqa: B018 (asked for here, so that a path too long is refused before anything starts)
        return paths

    @classmethod
    def for_client(cls, environ: Mapping[str, str], euid: int, *, root: Path = Path("/")) -> "Paths":
        """The hive that this user talks to: their own, or the system's when only that one is running."""
        own = cls.from_environment(environ, euid, root=root)
        if _named(environ, STATE_VARIABLE) or _named(environ, RUNTIME_VARIABLE) or is_present(own.host_socket):
            return own
        system = _system(root)
        return system if is_present(system.host_socket) else own

    @property
    def are_the_systems(self) -> bool:
        """Whether this is the one hive that a system install runs."""
        return self.runtime_dir == _system(Path("/")).runtime_dir

    @property
    def host_socket(self) -> Path:
        return _bindable(self.runtime_dir / "host.sock", RUNTIME_VARIABLE)

    @property
    def database(self) -> Path:
        return self.state_dir / "hive.sqlite"

    @property
    def notify(self) -> Path:
        """Where the operator is told outside of the dashboard: with secrets."""
        return self.state_dir / "notify.json"

    @property
    def credential(self) -> Path:
        """The hive's own credential for claude: a secret."""
        return self.state_dir / "credential.json"

    @property
    def meta(self) -> Path:
        """The flake of the systems of all agents that are containers of NixOS."""
        return self.state_dir / "meta"

    @property
    def accounts(self) -> Path:
        """Further credentials for claude, a file each: secrets."""
        return self.state_dir / "accounts"

    @property
    def prices(self) -> Path:
        """What models cost, where the operator knows better than the hive."""
        return self.state_dir / "prices.toml"

    @property
    def images(self) -> Path:
        """What containers of the nspawn backend are made from: root's alone."""
        return self.state_dir / "images"

    @property
    def shared(self) -> Path:
        return self.state_dir / "shared"

    @property
    def containers(self) -> Path:
        """What the running containers need on the host: gone after a reboot, as they are."""
        return self.runtime_dir / "containers"

    @property
    def rehearsal(self) -> Path:
        """The directory of the rehearsal model's socket."""
        return self.state_dir / "rehearsal"

    @property
    def rehearsal_socket(self) -> Path:
        return _bindable(self.rehearsal / "model.sock", STATE_VARIABLE)

    def agent(self, name: str) -> Path:
        """All that is kept of one agent, but for its applied config."""
        return self.state_dir / "agents" / name

    def agent_state(self, name: str) -> Path:
        return self.agent(name) / "state"

    def agent_claude(self, name: str) -> Path:
        return self.agent(name) / "claude"

    @property
    def proposed(self) -> Path:
        """The config repositories that the manager writes, apart from everything else: it sees them as /agents."""
        return self.state_dir / "proposed"

    def agent_config(self, name: str) -> Path:
        """The agent's proposed repository; `agents/NAME/config` is a link to it."""
        return self.proposed / name / "config"

    def applied(self, name: str) -> Path:
        return self.state_dir / "applied" / name

    def agent_runtime(self, name: str) -> Path:
        """What the agent sees as /run/hive."""
        return self.runtime_dir / "agents" / name

    def agent_socket(self, name: str) -> Path:
        return _bindable(self.agent_runtime(name) / "mcp.sock", RUNTIME_VARIABLE)

    def environment(self) -> dict[str, str]:
        """The variables that lead another process to this hive."""
        return {STATE_VARIABLE: str(self.state_dir), RUNTIME_VARIABLE: str(self.runtime_dir)}


def is_present(path: Path) -> bool:
    """Whether there is something at the path, as far as this user can see."""
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _named(environ: Mapping[str, str], variable: str) -> Path | None:
    value = environ.get(variable, "")
    return Path(value).absolute() if value else None


def _is_system_install(root: Path) -> bool:
    return any(is_present(root / mark) for mark in SYSTEM_MARKS)


def _system(root: Path) -> Paths:
    return Paths(state_dir=root / "var/lib/hyperhive", runtime_dir=root / "run/hyperhive")


def _own(environ: Mapping[str, str], euid: int) -> Paths:
    return Paths(state_dir=_own_state(environ), runtime_dir=_own_runtime(environ, euid))


def _own_state(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):  # the XDG specification has relative ones ignored
        return Path(base) / "hyperhive"
    home = environ.get("HOME", "")
    return (Path(home) if home else Path.home()) / ".local/state/hyperhive"


def _own_runtime(environ: Mapping[str, str], euid: int) -> Path:
    base = environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/"):
        return Path(base) / "hyperhive"
    fallback = Path("/tmp") / f"hyperhive-{euid}"
    if not environ.get(RUNTIME_VARIABLE):
        _check_private(fallback, euid)
    return fallback


def _check_private(path: Path, euid: int) -> None:
    """Anyone may make a directory in /tmp under our name and wait for our sockets to appear in it."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != euid or found.st_mode & 0o077:
        raise PathsError(
            f"cannot use {path}: it must be a directory of your own with mode 0700; "
            f"remove it or set {RUNTIME_VARIABLE} to another directory"
        )


def _bindable(path: Path, variable: str) -> Path:
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise PathsError(
            f"cannot use {path} as a socket: it has {length} bytes and the kernel takes {MAX_SOCKET_PATH}; "
            f"set {variable} to a shorter directory"
        )
    return path
