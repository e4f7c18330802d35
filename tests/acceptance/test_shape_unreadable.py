"""A config repository that cannot be read for a while, in a real hive."""

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.testing.hive_process import running_hive

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]


def test_a_proposal_waits_on_when_its_repository_cannot_be_read_now() -> None:
    needs.bwrap()
    with running_hive() as (hive, _):
        hive.ask(host.Spawn(name="scout"))
        (number,) = hive.ask(host.EditConfig(name="scout", text='description = "new"\n')).ids or []
        head = hive.paths.applied("scout") / ".git/HEAD"
        head.rename(head.with_name("away"))
        assert [row.status for row in hive.ask(host.Pending()).approvals or []] == ["pending"]
        head.with_name("away").rename(head)
        assert hive.ask(host.Approve(id=number)).ok
