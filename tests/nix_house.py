"""Nix without NixOS and without a network: what our files evaluate to."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import needs

ROOT = Path(__file__).parents[1]
NIX = ROOT / "nix"
LIB = Path(os.environ["NIXPKGS"], "lib") if os.environ.get("NIXPKGS") else NIX / "mini-lib"
"""The stand-in, or the real one where somebody has a nixpkgs: `make nix-check NIXPKGS=DIR`."""


_INPUTS = """{
  outputs = _: {
    lib = import ./mini-lib // { nixosSystem = { modules, ... }: { inherit modules; }; };
  };
}"""


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
        """What the expression is; `check` in it is nix/check.nix, `lib` nixpkgs'. Raises NixError."""
        names = f"let lib = import {LIB}; check = import {NIX}/check.nix {{ inherit lib; }}; in "
        return json.loads(self._run("--eval", "--strict", "--json", "-E", names + expression))

    def parse(self, path: Path) -> None:
        """Raises NixError."""
        self._run("--parse", str(path))

    def flake(self, attribute: str, function: str) -> Any:
        """What the function makes of an attribute of our flake, as nix itself reads it; nixpkgs is the stand-in."""
        place = Path(self._env["HOME"])
        source, inputs = place / "flake", place / "inputs"
        if not source.exists():
            shutil.copytree(NIX, source / "nix")
            shutil.copy(ROOT / "flake.nix", source)
            shutil.copytree(NIX / "mini-lib", inputs / "mini-lib")
            (inputs / "flake.nix").write_text(_INPUTS)
        overrides = [
            word for name in ("nixpkgs", "nixpkgs-unstable") for word in ("--override-input", name, f"path:{inputs}")
        ]
        argv = [
            *("nix", "--extra-experimental-features", "nix-command flakes", "--store", str(place / "flakes")),
            *("eval", "--json", "--offline", "--no-write-lock-file", *overrides),
            *(f"path:{source}#{attribute}", "--apply", function),
        ]
        without_places = {name: value for name, value in self._env.items() if not name.startswith("NIX_")}
        return json.loads(_output(argv, without_places))

    def _run(self, *arguments: str) -> str:
        return _output(["nix-instantiate", "--option", "substituters", "", *arguments], self._env)


def _output(argv: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=50, check=False)
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
