"""Format, lint, types and import contracts, each as a test, so that one command says whether a tree is good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import needs

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["ruff format --check", "ruff check", "mypy", "lint-imports", "pyright"])
def test_the_linter_has_nothing_to_say(command: str) -> None:
    name, *options = command.split()
    tool = Path(sys.executable).with_name(name)
    needs.program(str(tool), "run `make install`")
    if name == "pyright":
        needs.program("node", "install Node.js to include pyright")

    done = subprocess.run([tool, *options], cwd=ROOT, capture_output=True, text=True, check=False, env=_environment())

    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


def _environment() -> dict[str, str]:
    """What the tools need, with nothing fetched behind our back: pyright's package would look for a newer one."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
    return kept | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "NO_COLOR": "1"}
