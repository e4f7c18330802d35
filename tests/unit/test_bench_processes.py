"""What the memory bench counts as a process's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import cpu_s, memory, of_container, pss, tree

from hyperhive.config.paths import Paths

MB = 1 << 20
CHILD = "import sys; held = bytearray(b'x') * (32 << 20); print('up', flush=True); sys.stdin.read()"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE)
sys.stdin.read()
child.communicate()
"""


@contextmanager
def a_parent_with_a_child() -> Iterator[int]:
    """The parent; its child holds 32 MB and ends with it."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "up\n"
        yield parent.pid
    finally:
        parent.stdin.close()
        parent.wait(timeout=20)
        parent.stdout.close()


def test_a_process_is_counted_with_all_that_descend_from_it() -> None:
    with a_parent_with_a_child() as parent:
        family = tree(parent)
        assert family[0] == parent
        assert len(family) == 2
        assert pss(family) - pss([parent]) > 32 * MB


def test_a_process_that_has_gone_costs_nothing() -> None:
    with a_parent_with_a_child() as parent:
        pass
    assert memory(parent).pss == 0


def test_work_shows_as_time_of_a_core() -> None:
    before = cpu_s(os.getpid())
    sum(number * number for number in range(200_000))
    assert cpu_s(os.getpid()) > before


def test_an_agent_without_a_container_has_no_processes(tmp_path: Path) -> None:
    assert of_container(Paths(state_dir=tmp_path / "state", runtime_dir=tmp_path / "run"), "a") == {}
