"""The conformance suite of container backends: over bubblewrap as root with a uid per agent, and as a user; over
nspawn with the command alone, and with systemd."""

import asyncio
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import base_image
import needs
from base_image import base_images  # noqa: F401 - a fixture
from hyperhive.containers.spec import Init
from hyperhive.testing.backend_conformance import CASES, attempt, bubblewrap_ground, nspawn_ground

AGENT_UID = 21_001
NSPAWN_UID = 0x20000000 + (21 << 16) + 1000
USER_UID = 21_099


@pytest.mark.container
@pytest.mark.parametrize("sentence", CASES)
def test_as_root_with_a_uid_for_the_agent(sentence: str, tmp_path: Path) -> None:
    needs.bwrap()
    needs.root()

    async def main() -> None:
        await attempt(await bubblewrap_ground(tmp_path / "ground", uid=AGENT_UID), sentence)

    asyncio.run(main())


@pytest.mark.container
@pytest.mark.timeout(base_image.TIMEOUT_S)
@pytest.mark.parametrize("init", Init)
@pytest.mark.parametrize("sentence", CASES)
def test_by_nspawn(sentence: str, init: Init, tmp_path: Path, base_images: Path) -> None:  # noqa: F811 - it is that
    async def main() -> None:
        layers = (base_images / "base" / "current" / "root",)
        await attempt(await nspawn_ground(tmp_path / "ground", uid=NSPAWN_UID, layers=layers, init=init), sentence)

    asyncio.run(main())


@pytest.mark.container
@pytest.mark.parametrize("sentence", CASES)
def test_as_an_ordinary_user(sentence: str) -> None:
    needs.bwrap()
    assert _as_user()[sentence] == ""


@functools.cache
def _as_user() -> dict[str, str]:
    """All cases in one process, by somebody who is not root. What went wrong, case by case."""
    suite = [sys.executable, "-m", "hyperhive.testing.backend_conformance"]
    with tempfile.TemporaryDirectory() as directory:
        prefix = []
        if os.geteuid() == 0:
            os.chown(directory, USER_UID, USER_UID)
            prefix = [sys.executable, "-m", "hyperhive.testing.unprivileged", str(USER_UID)]
        done = subprocess.run(
            [*prefix, *suite, directory], capture_output=True, text=True, timeout=800, check=False, cwd="/"
        )
    found = {line["case"]: line["failure"] for line in map(json.loads, done.stdout.splitlines())}
    return {sentence: found.get(sentence, f"was not tried: {done.stderr[-2000:]}") for sentence in CASES}
