"""A run in the guest takes long, and may be ended before its end: what went wrong is said when it does."""

from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.config.get_terminal_writer().line(f"\n{report.longreprtext[-4000:]}")
    return report
