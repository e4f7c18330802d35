"""Nix without NixOS and without a network: what our files evaluate to, by their own stand-in for nixpkgs' lib."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import needs

ROOT = Path(__file__).parents[1]
NIX = ROOT / "nix"


class NixError(Exception):
    """The evaluation was refused; the text is what nix said."""


class Nix:
    """Runs nix-instantiate with a store and a home of its own, below `place`."""

    def __init__(self, place: Path) -> None:
        needs.program("nix-instantiate", "install it (Debian: apt install nix-bin)")
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "LANG": "C.UTF-8",
            "NIX_STORE_DIR": str(place / "store"),
            "NIX_STATE_DIR": str(place / "state"),
            "NIX_LOG_DIR": str(place / "log"),
            "NIX_CONF_DIR": str(place / "conf"),
            "NIX_REMOTE": "local",
        }

    def value(self, expression: str) -> Any:
        """What the expression is; `check` in it is nix/check.nix, `lib` the stand-in. Raises NixError."""
        names = f"let check = import {NIX}/check.nix {{ }}; lib = import {NIX}/mini-lib; in "
        return json.loads(self._run("--eval", "--strict", "--json", "-E", names + expression))

    def parse(self, path: Path) -> None:
        """Raises NixError."""
        self._run("--parse", str(path))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["nix-instantiate", "--option", "substituters", "", *arguments],
            env=self._env, capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NixError(done.stderr)
        return done.stdout


def to_nix(value: Any) -> str:
    """A value as nix writes it."""
    if isinstance(value, dict):
        return "{ " + " ".join(f"{json.dumps(key)} = {to_nix(item)};" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[ " + " ".join(map(to_nix, value)) + " ]"
    return json.dumps(value)
