"""The stand-in's host: where its files are, and what it is told to do wrong."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Host:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.confs = root / "etc/nixos-containers"
        self.roots = root / "var/lib/nixos-containers"
        self.units = root / "run/stand-in"
        self.loaded = root / "run/stand-in-loaded"

    def conf(self, name: str) -> Path:
        return self.confs / f"{name}.conf"

    def root_of(self, name: str) -> Path:
        return self.roots / name

    def profile(self, name: str) -> Path:
        return self.root / "nix/var/nix/profiles/per-container" / name

    def read_conf(self, name: str) -> dict[str, str]:
        """Plain assignments, each on a line; outer quotes go. Written apart from the hive's own reader."""
        found: dict[str, str] = {}
        for line in self.conf(name).read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith(("#", ";")):
                found[key] = value[1:-1] if re.fullmatch(r'"[^"]*"', value) else value
        return found

    def release(self) -> tuple[int, int]:
        found = re.search(r'VERSION_ID="(\d+)\.(\d+)"', (self.root / "etc/os-release").read_text())
        assert found
        return int(found[1]), int(found[2])

    def knob(self, name: str) -> Any:
        try:
            return json.loads((self.root / "knobs.json").read_text()).get(name)
        except FileNotFoundError:
            return None

    def note_call(self, arguments: Sequence[str]) -> None:
        with (self.root / "calls").open("a") as file:
            file.write(" ".join(arguments) + "\n")

    def note_builder(self, pid: int) -> None:
        fresh = self.root / "builder.new"
        fresh.write_text(str(pid))
        fresh.rename(self.root / "builder")

    # drop-ins

    def load_drop_ins(self) -> None:
        """Units are as they were loaded, whatever lies on the disk since."""
        shutil.rmtree(self.loaded, ignore_errors=True)
        shutil.copytree(self.root / "run/systemd/system", self.loaded)

    def drop_in(self, name: str) -> dict[str, str]:
        """What the loaded drop-ins of the container's unit set, the last of them first."""
        found: dict[str, str] = {}
        for path in sorted(self.loaded.glob(f"container@{name}.service.d/*.conf")):
            for line in path.read_text().splitlines():
                key, equals, value = line.partition("=")
                if equals and not line.startswith(("#", ";", "[")):
                    found[key.strip()] = value.strip()
        return found
