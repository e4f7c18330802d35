"""The models that may be chosen for an agent, on a real hive."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from starlette.datastructures import FormData

from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import AgentName
from hyperhive.web import agent_actions

SCOUT = AgentName("scout")


@pytest.mark.parametrize(
    ("config", "offered"),
    [
        ("", ["haiku", "sonnet", "opus"]),
        ('available_models = ["opus", "claude-house:1"]\n', ["haiku", "opus", "claude-house:1"]),
    ],
)
def test_the_chooser_offers_what_the_config_lists(config: str, offered: list[str]) -> None:
    async def test(hive: Hive) -> None:
        assert agent_actions.models(hive.fleet.get(SCOUT)) == offered

    _on_a_hive_with(config, test)


def test_a_model_that_the_config_does_not_list_is_refused_with_those_that_it_does() -> None:
    async def test(hive: Hive) -> None:
        said = "cannot give 'scout' the model 'sonnet': its config offers haiku, opus"
        with pytest.raises(FaultError) as refused:
            await hive.desk.set_model(SCOUT, "sonnet")
        assert (refused.value.kind, refused.value.message) == (FaultKind.INVALID_PARAMS, said)
        with pytest.raises(FaultError, match="its config offers haiku, opus"):
            await agent_actions.say(hive, {"name": "scout"}, FormData({"body": "/model sonnet"}))
        for model in ("opus", "haiku"):  # nothing but that nobody is there stands in the way
            with pytest.raises(FaultError, match="no harness connected"):
                await hive.desk.set_model(SCOUT, model)

    _on_a_hive_with('available_models = ["opus"]\n', test)


def _on_a_hive_with(config: str, test: Callable[[Hive], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(30), hive_at(paths, rehearsal=None) as hive:
                await hive.fleet.make(SCOUT, {"agent.toml": config})
                await test(hive)

    asyncio.run(run())
