"""The program that builds where nothing of it can be left."""

import json
import os
import subprocess
import sys

from hyperhive.images import throwaway


def test_nothing_is_executed_for_a_hive_that_died_before_the_program_began() -> None:
    plan = {"parent": os.getppid(), "procs": [], "layers": [], "hidden": [], "argv": ["echo", "executed"], "env": {}}

    done = subprocess.run(
        [sys.executable, "-I", "-S", throwaway.__file__],
        input=json.dumps(plan), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
