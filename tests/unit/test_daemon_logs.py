"""What the daemon's log holds back."""

import subprocess
import sys

import pytest

FAILS = """
import structlog
from hyperhive.daemon import logs

logs.configure("{}")

def fail():
    secret = "5" + "ecret"
    raise RuntimeError("it went wrong")

try:
    fail()
except RuntimeError:
    structlog.get_logger().exception("work failed")
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_failure_in_the_log_shows_where_and_no_values(log_format: str) -> None:
    code = FAILS.replace("{}", log_format)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "it went wrong" in done.stderr
    assert "5ecret" not in done.stderr
