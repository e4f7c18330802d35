"""A stand-in for what the nixos backend runs on its host: nixos-container, systemctl, machinectl, journalctl, nix.

`install` makes a directory that stands for `/`: with the real ones' files below `etc/nixos-containers`,
`var/lib/nixos-containers`, `nix/var/nix/profiles/per-container`, and the programs in `bin`. What it does is real where
it matters to the hive: containers are started by systemd-nspawn with the line of the real unit, with its binds, users
and network; a unit outlives whoever started it; verbs, messages, exit codes and traps are those of the real tool.

What it can't prove:

- nix: nothing is evaluated or built. A system is a directory with an `init` that runs the harness of this checkout; a
  commit whose agent.nix has a `throw` in it does not build, and of its settings those count that stand in one line as
  `hyperhive.settings = builtins.fromJSON ''{...}'';`. The agent's uid is read off the line that the hive wrote.
- systemd: a unit is a process of its own here, and its drop-ins are read for a handful of keys. No device policy, no
  machined, no D-Bus, no confinement by systemd-run, no journal files: a container's words are in a plain file.
- inside: there is no systemd, no activation and no PAM. `nixos-container run` goes in as root without `su`, so it has
  no login environment, and a reload runs nothing.
- store: the host's `/usr` and this Python stand for `/nix/store`; identity mapping is tried on this file system alone.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

TOOLS: Final = ("nixos-container", "systemctl", "machinectl", "journalctl", "nix", "nix-env", "systemd-run")
_HERE: Final = Path(__file__).parent


HARNESS: Final = (sys.executable, "-I", "-m", "hyperhive.harness.runner")


def install(
    root: Path,
    *,
    references: Sequence[Path],
    environment: Mapping[str, str],
    argv: Sequence[str] = HARNESS,
    release: str = "25.11",
) -> None:
    """Makes the host. `references` are what a system needs of this host beside /usr, at the same places inside.

    `argv` is what the harness's unit runs in containers, `environment` what the agents' module sets for it.
    """
    for directory in ("bin", "etc/systemd/system", "run/lock", "run/systemd/system", "nix/store", "var/lib"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "etc/systemd/system/container@.service").write_text("# unit.py of the stand-in says what it does\n")
    (root / "etc/os-release").write_text(f'ID=nixos\nVERSION_ID="{release}"\n')
    closure = {
        "argv": list(argv),
        "env": dict(environment),
        "references": [str(path) for path in references],
    }
    (root / "closure.json").write_text(json.dumps(closure))
    for tool in TOOLS:
        program = root / "bin" / tool
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {_HERE}/tools.py {tool} {root} "$@"\n')
        program.chmod(0o755)


def set_knobs(root: Path, **knobs: Any) -> None:
    """What goes wrong from now on: `build_fails` (the error, or errors by agent), `build_hangs` (the number of its
    builder is in the file `builder`), `start_times_out`, `stop_hangs`, `reload_fails`; and `start_timeout_s`,
    `stop_timeout_s` in place of the unit's."""
    fresh = root / "knobs.new"
    fresh.write_text(json.dumps(knobs))
    fresh.replace(root / "knobs.json")


def calls(root: Path) -> list[str]:
    """Every command of nixos-container that was given, in order."""
    try:
        return (root / "calls").read_text().splitlines()
    except FileNotFoundError:
        return []


def end_all(root: Path) -> None:
    """Ends every container of this host, and the units that keep them."""
    for name in [path.stem for path in sorted((root / "etc/nixos-containers").glob("*.conf"))]:
        os.spawnv(os.P_WAIT, str(root / "bin/systemctl"), ["systemctl", "kill", "--signal=KILL", f"container@{name}"])
        os.spawnv(os.P_WAIT, str(root / "bin/systemctl"), ["systemctl", "stop", f"container@{name}"])
