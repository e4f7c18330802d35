"""What systems of NixOS are made from, on the overview and in the approval of newer ones, on a real hive."""

import asyncio
import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec
import pytest
from starlette.datastructures import FormData

from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.hive import Hive
from hyperhive.hub.steering import Steering
from hyperhive.hub.systems import Systems
from hyperhive.process import Finished
from hyperhive.protocol import agent as wire
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import MANAGER, AgentName
from hyperhive.repos.meta import MetaRepository
from hyperhive.repos.meta_flake import LOCK, PINS, Base, Pin, Pins
from hyperhive.web import actions, sections
from hyperhive.web.live import Live
from hyperhive.web.pages import BASES
from hyperhive.web.rendering import render

SCOUT = AgentName("scout")
NASTY = "<b>x"


class NoNix:
    """Nothing of this is built."""

    async def run(self, program: str, *_: str, **__: object) -> Finished:
        raise AssertionError(program)


def lock() -> bytes:
    nodes = {
        "hyperhive": {"locked": {"type": "github", "owner": "o", "repo": "hyperhive", "rev": "1" * 40,
                                 "lastModified": 1_700_000_000}},
        "scout": {"locked": {"type": "git", "url": "file:///a", "rev": "2" * 40}, "inputs": {NASTY: "nasty"}},
        "nasty": {"locked": {"type": "path", "path": "/<i>"}},
    }  # fmt: skip
    root = {"inputs": {"hyperhive": "hyperhive", "agent-scout": "scout"}}
    return json.dumps({"root": "root", "version": 7, "nodes": {"root": root, **nodes}}).encode()


def on_a_nixos_hive(test: Callable[[Hive, Systems], Coroutine[None, None, None]]) -> None:
    """With a manager and a scout, neither started, and the flake of systems as far as it is looked at."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(30), hive_at(paths, rehearsal=None) as hive:
                systems = Systems(
                    repository=MetaRepository(Path(root) / "meta"), applied=Path(root) / "applied",
                    base=Base(hyperhive="path:/h"), nix=NoNix(), wanted=lambda _: None,
                )  # fmt: skip
                hive.fleet.house = dataclasses.replace(hive.fleet.house, systems=systems)
                for name in (AgentName(MANAGER), SCOUT):
                    await hive.fleet.make(name, {"agent.toml": ""})
                await test(hive, systems)

    asyncio.run(run())


def fill(repository: MetaRepository, locked: bytes) -> None:
    pins = Pins(base=Base(hyperhive="path:/h"), agents={"scout": Pin(sha="2" * 40, uid=50_001)})
    repository.commit({LOCK: locked, PINS: msgspec.json.encode(pins)}, "deploy scout")


def test_inputs_are_shown_with_their_age_and_asked_for_by_a_form() -> None:
    async def test(hive: Hive, systems: Systems) -> None:
        assert await sections.inputs(hive) == {}
        with pytest.raises(FaultError, match="no input yet"):
            await actions.update_inputs(hive, {}, FormData())

        await asyncio.to_thread(fill, systems.repository, lock())
        systems.made = {"scout": "x"}
        html = render("sections/inputs.html", **await sections.inputs(hive))
        assert 'value="hyperhive"' in html
        assert '<time datetime="2023-11-14' in html
        assert "of scout" in html
        assert html.index('value="hyperhive"') < html.index('value="agent-scout"')
        assert NASTY not in html
        assert "&lt;b&gt;x" in html
        assert "<i>" not in html

        with pytest.raises(FaultError, match="there is no input 'nixpkgs'"):
            await actions.update_inputs(hive, {}, FormData([("input", "nixpkgs")]))
        async with Live(hive) as live:
            chosen = FormData([("input", "hyperhive"), ("input", "agent-scout"), ("description", " A newer claude ")])
            await actions.update_inputs(hive, {}, chosen)
            await actions.update_inputs(hive, {}, FormData())
            card = (await live.overview.frames())["approvals"]
        assert "A newer claude" in card
        assert "<code>hyperhive</code>, <code>agent-scout</code>" in card
        assert "newer revisions of all inputs" in card
        assert "<b>all agents</b>" in card
        assert "<b></b>" not in card
        (first, _) = await hive.shape.approvals.pending()
        whole = await sections.diff(hive, first.id, "deployed", 10)
        row = await hive.shape.approval(first.id)
        shown = {"row": row, "diff": whole, "base": "deployed", "bases": BASES}
        looks = {"theme": "system", "themes": ("system",)}
        page = await asyncio.to_thread(functools.partial(render, "approval.html", **shown, **looks))
        assert "update meta inputs for all agents" in page
        assert "<code>agent-scout</code>" in page

    on_a_nixos_hive(test)


def test_asking_again_for_what_waits_gives_what_waits_and_once_it_is_decided_a_new_one() -> None:
    async def test(hive: Hive, systems: Systems) -> None:
        await asyncio.to_thread(fill, systems.repository, lock())
        ask = hive.shape.request_update_inputs
        first = await ask(["hyperhive", "agent-scout"], "newer")
        again = await asyncio.gather(
            *(ask(["agent-scout", "hyperhive", "hyperhive"], "", requester=MANAGER, mid=f"m{n}") for n in range(3))
        )
        assert {row.id for row in again} == {first.id}
        other = await ask([], "")
        assert [row.id for row in await hive.shape.approvals.pending()] == [first.id, other.id]
        await hive.shape.deny(first.id, "not now")
        assert (await ask(["hyperhive", "agent-scout"], "")).id not in (first.id, other.id)

    on_a_nixos_hive(test)


def test_a_lock_that_cannot_be_read_is_said_in_the_place_of_the_inputs() -> None:
    async def test(hive: Hive, systems: Systems) -> None:
        await asyncio.to_thread(fill, systems.repository, b"[]")
        html = render("sections/inputs.html", **await sections.inputs(hive))
        assert 'class="problem"' in html
        assert "<form" not in html

    on_a_nixos_hive(test)


def test_only_the_manager_of_a_hive_with_systems_may_ask_for_newer_inputs() -> None:
    async def test(hive: Hive, systems: Systems) -> None:
        await asyncio.to_thread(fill, systems.repository, lock())
        manager, scout = hive.fleet.get(MANAGER), hive.fleet.get(SCOUT)
        assert "systems" in hive.fleet.house.tool_groups(manager)
        assert "systems" not in hive.fleet.house.tool_groups(scout)
        steering = Steering(fleet=hive.fleet, shape=hive.shape, queue=hive.queue)
        ask = wire.RequestUpdateMetaInputs(mid="m1", inputs=["hyperhive"])
        answers = [await steering.request_update_meta_inputs(manager, ask) for _ in range(2)]
        assert answers[0] == answers[1]
        (row,) = await hive.shape.approvals.pending()
        assert (row.kind, row.agent, row.commit_ref, row.requester) == (
            "update_meta_inputs", "", "hyperhive", MANAGER
        )  # fmt: skip
        hive.fleet.house = dataclasses.replace(hive.fleet.house, systems=None)
        assert "systems" not in hive.fleet.house.tool_groups(manager)

    on_a_nixos_hive(test)
