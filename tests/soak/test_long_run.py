"""The long run in short: twenty agents in bad weather for a while. `make soak` lives the two hours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import needs

TESTS = Path(__file__).parents[1]
MINUTES = 15


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_no_message_is_lost_or_doubled_and_nothing_is_left_behind() -> None:
    needs.bwrap()
    needs.claude()
    seed = int.from_bytes(os.urandom(4), "big")
    argv = [sys.executable, str(TESTS / "long_run.py"), "--seed", str(seed), "--minutes", str(MINUTES)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, (
        f"{done.stdout}\n{done.stderr[-20_000:]}\nagain: make soak SEED={seed} MINUTES={MINUTES}"
    )
    assert "wrong" not in done.stdout
    assert "warm" in done.stdout
