"""Hives that tests share the making of; a module that needs another kind has a fixture of its own by the same name."""

from collections.abc import Iterator

import pytest

import needs
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel


@pytest.fixture(scope="module")
def empty() -> Iterator[HiveProcess]:
    """A hive in which nothing is changed: shared by tests that only ask, or whose requests are refused."""
    with running_hive() as (hive, _):
        yield hive


@pytest.fixture
def hive_and_model() -> Iterator[tuple[HiveProcess, ScriptedModel]]:
    """A hive without agents; it can start containers."""
    needs.bwrap()
    with running_hive() as both:
        yield both


@pytest.fixture
def hive(hive_and_model: tuple[HiveProcess, ScriptedModel]) -> HiveProcess:
    return hive_and_model[0]
