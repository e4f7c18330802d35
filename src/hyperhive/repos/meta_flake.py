"""The flake of all agents' systems: text from what is pinned, and what its lock says."""

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from hyperhive.protocol.faults import FaultError, FaultKind

FLAKE: Final = "flake.nix"
LOCK: Final = "flake.lock"
PINS: Final = "pins.json"
HYPERHIVE: Final = "hyperhive"
MAX_LOCK_BYTES: Final = 8 << 20
_MAX_INPUTS: Final = 1000
_REFUSED_IN_URL: Final = re.compile(r'[\s"\\$]')


class Pin(Struct, frozen=True, kw_only=True):
    """What an agent's system is made of: a commit of its applied repository, and who it runs as."""

    sha: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}$")]
    uid: int


class Base(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all systems have in common, from the hive's settings."""

    hyperhive: str  #: the flake with lib.mkAgent
    allow_unfree: list[str] = []
    defaults: dict[str, Any] = {}
    system: str = "x86_64-linux"


class Pins(Struct, frozen=True, kw_only=True):
    base: Base
    agents: dict[str, Pin] = {}


class Input(Struct, frozen=True, kw_only=True):
    """One of the lock's inputs."""

    name: str  #: as `nix flake update` takes it: agent-alice/nixpkgs
    url: str
    revision: str  #: 12 digits of its commit, or of its content's hash
    last_modified: int  #: Unix seconds; 0: not known


def render(pins: Pins, applied: str) -> str:
    """The flake.nix. `applied` is the directory of the applied repositories. Raises FaultError (`bad_config`)."""
    for url in (pins.base.hyperhive, applied):
        if _REFUSED_IN_URL.search(url):
            raise FaultError(
                FaultKind.BAD_CONFIG, f"cannot use {url!r} as a flake's place: it has odd characters in it"
            )
    names = sorted(pins.agents)
    inputs = "".join(f'  inputs."agent-{name}".url = "{_url(applied, name, pins.agents[name])}";\n' for name in names)
    systems = "".join(_system(name, pins.agents[name]) for name in names)
    return _TEXT.format(
        hyperhive=pins.base.hyperhive,
        inputs=inputs,
        systems=systems,
        system=pins.base.system,
        unfree=_nix_string(json.dumps(pins.base.allow_unfree)),
        defaults=_nix_string(json.dumps(pins.base.defaults)),
    )


def made_of(lock: bytes, pins: Pins, name: str) -> str:
    """Another text when the agent's system would be another; the other agents have no part in it."""
    nodes, root = _nodes(lock)
    part = {key: nodes[key] for key in _reachable(nodes, [root.get(f"agent-{name}"), root.get(HYPERHIVE)])}
    about = [part, msgspec.to_builtins(pins.base), msgspec.to_builtins(pins.agents.get(name))]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def inputs(lock: bytes) -> list[Input]:
    """All of them that were fetched, by the shortest name each has; at most a thousand. Ours come before those that
    agents have at the same depth, who can have any number."""
    nodes, root = _nodes(lock)
    found: dict[str, Input] = {}
    waiting = sorted(root.items(), key=lambda item: (item[0] != HYPERHIVE, item[0]))
    while waiting and len(found) < _MAX_INPUTS:
        path, key = waiting.pop(0)
        if not isinstance(key, str) or key in found or key not in nodes:
            continue
        locked = nodes[key].get("locked") or {}
        found[key] = Input(
            name=path,
            url=str(locked.get("url") or _forge(locked) or locked.get("path") or "")[:500],
            revision=str(locked.get("rev") or locked.get("narHash") or "").removeprefix("sha256-")[:12],
            last_modified=locked["lastModified"] if isinstance(locked.get("lastModified"), int) else 0,
        )
        waiting += [(f"{path}/{name}", below) for name, below in sorted((nodes[key].get("inputs") or {}).items())]
    return list(found.values())


def on_this_host(lock: bytes, name: str) -> list[str]:
    """What the agent's flake, or one that it takes in, has fetched from this machine: places that root can read. What
    is in the store, and what lies beside a flake in its own repository, is not meant."""
    nodes, root = _nodes(lock)
    own = nodes.get(str(root.get(f"agent-{name}")), {})
    found = [nodes[key].get("locked") or {} for key in _reachable(nodes, [*(own.get("inputs") or {}).values()])]
    return sorted({place for locked in found if (place := _place(locked)) and not _in_store(place)})


def _place(locked: Mapping[str, Any]) -> str:
    """Empty when it is not on this machine."""
    place = str(locked.get("path" if locked.get("type") == "path" else "url") or "")
    return place if place.startswith("/") or place.casefold().startswith("file:") else ""


def _in_store(place: str) -> bool:
    return posixpath.normpath(place).startswith("/nix/store/")


def concerned(name: str, agents: Iterable[str]) -> list[str]:
    """The agents whose systems change with that input."""
    top = name.partition("/")[0]
    return sorted(agents) if top == HYPERHIVE else [agent for agent in sorted(agents) if top == f"agent-{agent}"]


def _url(applied: str, name: str, pin: Pin) -> str:
    # What was pinned has no ancestors, which git calls shallow.
    return f"git+file://{applied}/{name}?shallow=1&rev={pin.sha}"


def _system(name: str, pin: Pin) -> str:
    return f'      "{name}" = agent {{ name = "{name}"; source = inputs."agent-{name}"; uid = {pin.uid}; }};\n'


def _nix_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def _nodes(lock: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        found = json.loads(lock)
        nodes = found["nodes"]
        return nodes, nodes[found["root"]].get("inputs") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FaultError(
            FaultKind.BACKEND, "cannot read the flake.lock of the agents' systems; is it whole?"
        ) from None


def _reachable(nodes: Mapping[str, Any], begin: list[Any]) -> Iterator[str]:
    seen: set[str] = set()
    waiting = [key for key in begin if isinstance(key, str)]
    while waiting:
        key = waiting.pop()
        if key in seen or key not in nodes:
            continue
        seen.add(key)
        waiting += [below for below in (nodes[key].get("inputs") or {}).values() if isinstance(below, str)]
    yield from sorted(seen)


def _forge(locked: Mapping[str, Any]) -> str:
    return f"{locked.get('type')}:{locked['owner']}/{locked['repo']}" if {"owner", "repo"} <= locked.keys() else ""


_TEXT: Final = """\
# Written by the hive: an input and a system for each agent. Its history is what was deployed, and nothing else.
{{
  inputs."hyperhive".url = "{hyperhive}";
{inputs}
  outputs = {{ hyperhive, ... }}@inputs:
    let
      agent = {{ name, source, uid }}: hyperhive.lib.mkAgent {{
        inherit name;
        system = "{system}";
        allowUnfree = builtins.fromJSON {unfree};
        defaults = builtins.fromJSON {defaults};
        modules = [
          source.nixosModules.default
          # The same number inside as on the host, with a user namespace and without: it owns what the agent keeps.
          ({{ lib, ... }}: {{
            users.users.agent.uid = lib.mkForce uid;
            users.groups.agent.gid = lib.mkForce uid;
          }})
        ];
      }};
    in
    {{
      nixosConfigurations = {{
{systems}      }};
    }};
}}
"""
