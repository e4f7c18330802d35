"""What systemd and the hive say, for tests that run in the guest."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def hive(*words: str) -> Any:
    """What the command answers."""
    return json.loads(run(sys.executable, "-m", "hyperhive.cli", *words, "--json"))


def properties(unit: str, *names: str) -> dict[str, str]:
    text = run("systemctl", "show", unit, *(f"--property={name}" for name in names))
    return dict(line.split("=", 1) for line in text.splitlines())


def units(*words: str) -> set[str]:
    """Those that systemd has loaded."""
    listed = json.loads(run("systemctl", "list-units", "--all", "--output=json", *words))
    return {str(unit["unit"]) for unit in listed}


def failed() -> set[str]:
    """Units of ours that are in the state that an operator has to look after."""
    return {name for name in units("--state=failed") if "hyperhive" in name}


def unit_of(agent: str) -> str:
    """The unit that the agent's container is."""
    (found,) = [name for name in units("--type=service") if name.endswith(f"-h-{agent}.service")]
    return found


def first_process(agent: str) -> str:
    """Of the agent's container, as the hive has recorded it."""
    record = json.loads(Path(f"/run/hyperhive/containers/h-{agent}/record.json").read_text())
    return str(record["init"]["pid"])


def processes(unit: str) -> set[str]:
    """In its control group and in those below."""
    group = Path("/sys/fs/cgroup" + properties(unit, "ControlGroup")["ControlGroup"])
    return {pid for procs in group.rglob("cgroup.procs") for pid in procs.read_text().split()}
