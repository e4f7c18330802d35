"""What an agent's container is made of: settings and paths into a `ContainerSpec`."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import hyperhive
from hyperhive.config.paths import Paths
from hyperhive.containers.host import interpreter_mounts
from hyperhive.containers.spec import HOME, ContainerSpec, Init, Limits, Mount, Network
from hyperhive.hub.agents import Agent
from hyperhive.images.generations import Generation
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, container_name

PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, kw_only=True)
class Tooling:
    """What every container gets of the host's software, read-only, at the same paths as outside."""

    claude: Path
    mounts: tuple[Mount, ...]  #: the interpreter, its packages, hyperhive's own and claude
    fingerprint: str = ""  #: changes when containers would be made from other software

    @classmethod
    def of_this_process(cls, claude: Path) -> "Tooling":
        """Reads links from disk: call it off the loop."""
        found = claude.stat()
        made_of = f"{hyperhive.__version__} {claude} {found.st_size} {found.st_mtime_ns} {sys.version}"
        return cls(
            claude=claude,
            mounts=interpreter_mounts(claude.parent),
            fingerprint=hashlib.sha256(made_of.encode()).hexdigest()[:16],
        )


def container_spec(
    agent: Agent,
    *,
    paths: Paths,
    tooling: Tooling,
    rehearsal: Path | None,
    argv: tuple[str, ...],
    generation: Generation | None = None,
) -> ContainerSpec:
    """The container of one agent. `argv` starts the runner; `rehearsal` is the directory of the model's socket.

    With a `generation` its root is made from that, which has a Python and a harness of its own: of the host's software
    there is claude alone.

    Raises FaultError (`backend`) when the software lies around the hive's own directories, or in them.
    """
    name = agent.name
    _keep_apart(tooling, paths)
    claude = _mount(tooling.claude.parent, str(tooling.claude.parent))
    mounts = [*_own_mounts(agent, paths, rehearsal), *(tooling.mounts if generation is None else (claude,))]
    return ContainerSpec(
        name=container_name(name),
        argv=argv if generation is None else (str(generation.python), *argv[1:]),
        layers=() if generation is None else generation.layers,
        env=_environment(agent, tooling, rehearsing=rehearsal is not None),
        mounts=tuple(mounts),
        limits=Limits.from_settings(agent.settings.limits),
        network=Network.NONE if rehearsal is not None else Network(agent.settings.network.mode),
        uid=agent.row.uid,
        hostname=name,
        cwd=PurePosixPath("/state"),
        init=Init(agent.settings.init),
        watched=True,
    )


def nixos_spec(agent: Agent, *, paths: Paths, rehearsal: Path | None) -> ContainerSpec:
    """The container of an agent whose software, and whose harness, come with its system."""
    name = agent.name
    meta = [_mount(paths.meta, "/meta")] if name == MANAGER else []
    return ContainerSpec(
        name=container_name(name),
        argv=("hive-harness.service",),
        env=_sockets(agent, rehearsing=rehearsal is not None),
        mounts=(*_own_mounts(agent, paths, rehearsal), *meta),
        limits=Limits.from_settings(agent.settings.limits),
        network=Network.NONE if rehearsal is not None else Network(agent.settings.network.mode),
        uid=agent.row.uid,
        hostname=name,
        cwd=PurePosixPath("/state"),
    )


def _keep_apart(tooling: Tooling, paths: Paths) -> None:
    """No agent may see the others' directories, not even read-only, because a program lies beside them."""
    for mount in tooling.mounts:
        for own in {place for path in (paths.state_dir, paths.runtime_dir) for place in (path, path.resolve())}:
            if own.is_relative_to(mount.source) or mount.source.is_relative_to(own):
                raise FaultError(
                    FaultKind.BACKEND,
                    f"cannot make a container: it would show the agent {mount.source}, where Python or claude is, and "
                    f"the hive's own {own} with it; install them elsewhere, or set HYPERHIVE_STATE_DIR and "
                    "HYPERHIVE_RUNTIME_DIR to other places",
                )


def _own_mounts(agent: Agent, paths: Paths, rehearsal: Path | None) -> list[Mount]:
    """What is the agent's of the hive's trees."""
    name = agent.name
    mounts = [
        _mount(paths.agent_runtime(name), "/run/hive"),
        _mount(paths.agent_state(name), "/state", writable=True),
        _mount(paths.shared, "/shared", writable=True),
        _mount(paths.agent_claude(name), f"{HOME}/.claude", writable=True),
    ]
    if name == MANAGER:
        mounts += [
            _mount(paths.proposed, "/agents", writable=True),
            _mount(paths.state_dir / "applied", "/applied"),
        ]
    if rehearsal is not None:
        mounts.append(_mount(rehearsal, "/run/rehearsal"))
    return mounts


def _mount(source: Path, target: str, *, writable: bool = False) -> Mount:
    return Mount(source=source, target=PurePosixPath(target), writable=writable)


def _environment(agent: Agent, tooling: Tooling, *, rehearsing: bool) -> Mapping[str, str]:
    env = {
        "HOME": str(HOME),
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "CLAUDE_CONFIG_DIR": f"{HOME}/.claude",
        "HYPERHIVE_SOCKET": "/run/hive/mcp.sock",
        "HYPERHIVE_AGENT_CONFIG": "/run/hive/agent.json",
        "HYPERHIVE_STATE": "/state",
        "HYPERHIVE_CLAUDE": str(tooling.claude),
    }
    return {**env, **_sockets(agent, rehearsing=rehearsing)}


def _sockets(agent: Agent, *, rehearsing: bool) -> Mapping[str, str]:
    """The ways out that the container has."""
    if rehearsing:
        return {"HYPERHIVE_REHEARSAL_SOCKET": "/run/rehearsal/model.sock"}
    if agent.settings.network.mode == "allowlist":
        return {"HYPERHIVE_PROXY_SOCKET": "/run/hive/proxy.sock"}
    return {}


def shell_environment(agent: Agent, tooling: Tooling) -> Mapping[str, str]:
    """What the operator's shell in the container has around it: the agent's own, with claude on the PATH."""
    env = dict(_environment(agent, tooling, rehearsing=False))
    if agent.settings.network.mode == "allowlist":
        env["HTTPS_PROXY"] = "http://127.0.0.1:3128"  # the runner's relay to the egress proxy
    return {**env, "PATH": f"{tooling.claude.parent}:{PATH}", "TERM": "xterm-256color", "PS1": f"{agent.name}:\\w$ "}
