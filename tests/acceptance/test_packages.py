"""An agent with Debian packages of its own, from its config to its container and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import base_image
import needs
from base_image import base_images  # noqa: F401 - a fixture
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError
from hyperhive.testing.hive_process import HiveProcess, running_hive
from manager_house import cli, inside

pytestmark = [pytest.mark.container, pytest.mark.timeout(base_image.TIMEOUT_S)]

WITH_JQ = '[packages]\napt = ["jq"]\n'
SLOW_S = 300.0


@pytest.fixture(scope="module")
def hive(base_images: Path) -> Iterator[HiveProcess]:  # noqa: F811 - it is that
    needs.claude()
    with running_hive(furnish=lambda made: base_image.give(base_images, made.paths.images)) as (hive, _):
        hive.ask(host.Spawn(name="scout", backend=BackendKind.NSPAWN), timeout_s=SLOW_S)
        yield hive


def deploy(hive: HiveProcess, text: str) -> int:
    """Propose and approve it; the number of the approval."""
    config = hive.ask(host.Config(name="scout")).config
    assert isinstance(config, host.AgentConfig)
    (row,) = hive.ask(host.EditConfig(name="scout", text=text, base=config.sha)).approvals or []
    assert isinstance(row.fetched_sha, str)
    hive.ask(host.Approve(id=row.id, sha=row.fetched_sha), timeout_s=SLOW_S)
    return row.id


def lines_of_last_job(hive: HiveProcess) -> list[str]:
    (job,) = hive.ask(host.Jobs(name="scout", limit=1)).jobs or []
    return hive.ask(host.JobLog(id=job.id)).messages or []


def test_a_deployed_config_brings_its_packages_and_a_rollback_takes_them_away(hive: HiveProcess) -> None:
    assert "not found" in inside(hive, "scout", "jq --version")

    deploy(hive, WITH_JQ)

    assert inside(hive, "scout", "jq --version").startswith("jq-")
    assert any("making a layer of packages: jq" in line for line in lines_of_last_job(hive))

    hive.ask(host.Rollback(name="scout"), timeout_s=SLOW_S)

    assert "not found" in inside(hive, "scout", "jq --version")


def test_packages_that_cannot_be_installed_fail_the_deploy_and_the_agent_goes_on(hive: HiveProcess) -> None:
    before = hive.status("scout")

    with pytest.raises(FaultError, match="Unable to locate package hyperhive-none"):
        deploy(hive, '[packages]\napt = ["hyperhive-none"]\n')

    assert hive.status("scout").running
    assert inside(hive, "scout", "cat /proc/1/comm") != ""
    assert before.running


def test_the_images_are_shown_and_compared_by_commands(hive: HiveProcess) -> None:
    shown = cli(hive, "image", "list").splitlines()
    layer = next(line.split() for line in shown if line.rstrip().endswith("jq"))

    assert layer[1] == "layer"
    assert any({"base", "current"} <= set(line.split()) for line in shown)
    assert "1 images are as they were made" in cli(hive, "image", "verify", layer[0])
    assert "no image 'nothing'" in cli(hive, "image", "verify", "nothing", fails=True)
