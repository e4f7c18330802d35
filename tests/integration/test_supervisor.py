"""One agent's container under orders and deaths that cross each other; real containers, no harness in them."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import needs
from hyperhive.broker.roster import AgentRow, Wanted
from hyperhive.containers.keeper import Exit
from hyperhive.containers.runtime import Running, Runtime
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.supervisor import Hooks, Supervisor, how_it_ended
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing.backend_conformance import Ground, bubblewrap_ground

pytestmark = pytest.mark.container
UID = 21_011 if os.geteuid() == 0 else None


def row() -> AgentRow:
    return AgentRow(
        name="x", incarnation=1, role="agent", uid=UID, wanted=Wanted.UP, paused=False, description="", model="",
        failure="", asleep=False, deployed_sha="", session_id="", context_tokens=0, status_text="",
        status_set_at=None, needs_login=False, created_at=0.0, destroyed_at=None,
            parent="", built_with="",
    )  # fmt: skip


@dataclass
class Scene:
    ground: Ground
    runtime: Runtime
    agent: Agent = field(default_factory=lambda: Agent(row=row()))
    launched: list[Running] = field(default_factory=list)
    told: list[Exit] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    fail_launch: bool = False
    on_death: Callable[[], Awaitable[None]] | None = None
    phases: dict[Phase, asyncio.Event] = field(default_factory=dict)

    def supervisor(self) -> Supervisor:
        return Supervisor(self.agent, lambda: self.runtime, Hooks(
            launch=self.launch, changed=self.changed, died=self.died, gave_up=self.gave_up,
        ))  # fmt: skip

    async def launch(self, agent: Agent) -> Running:
        if self.fail_launch:
            raise FaultError(FaultKind.BACKEND, "no")
        spec = self.ground.spec("/bin/sleep", "1000")
        running = await self.runtime.start(type(spec)(**{**vars(spec), "name": "h-x"}))
        self.launched.append(running)
        return running

    def changed(self, agent: Agent) -> None:
        self.phases.setdefault(agent.phase, asyncio.Event()).set()

    async def died(self, agent: Agent, exit_: Exit) -> None:
        self.told.append(exit_)
        if self.on_death is not None:
            on_death, self.on_death = self.on_death, None
            await on_death()

    async def gave_up(self, agent: Agent, last: str) -> None:
        self.given_up.append(last)

    async def reached(self, phase: Phase) -> None:
        async with asyncio.timeout(30):
            await self.phases.setdefault(phase, asyncio.Event()).wait()

    def kill(self) -> None:
        self.phases.clear()
        init = self.launched[-1].record.init
        assert init is not None
        os.kill(init.pid, signal.SIGKILL)


def play(tmp_path: Path, script: Callable[[Scene, Supervisor], Awaitable[None]]) -> None:
    needs.bwrap()

    async def main() -> None:
        ground = await bubblewrap_ground(tmp_path / "hive", uid=UID)
        scene = Scene(ground, await ground.make())
        supervisor = scene.supervisor()
        watch = asyncio.create_task(supervisor.run())
        try:
            await script(scene, supervisor)
            assert not watch.done()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await scene.runtime.kill("h-x")
            await scene.runtime.close()

    with capture_logs():  # a traceback's lines are read from disk
        asyncio.run(main())


def test_a_container_that_dies_is_started_again(tmp_path: Path) -> None:
    async def script(scene: Scene, supervisor: Supervisor) -> None:
        await supervisor.start()
        scene.kill()
        await scene.reached(Phase.RUNNING)
        assert len(scene.launched) == 2
        assert scene.told == [Exit(signal=9)]

    play(tmp_path, script)


def test_a_stop_while_a_death_is_told_is_kept(tmp_path: Path) -> None:
    async def script(scene: Scene, supervisor: Supervisor) -> None:
        await supervisor.start()
        stopped = asyncio.Event()

        async def stop() -> None:
            await supervisor.stop()
            stopped.set()

        scene.on_death = stop
        scene.kill()
        await stopped.wait()
        assert scene.agent.phase is Phase.STOPPED
        assert len(scene.launched) == 1

    play(tmp_path, script)


def test_a_start_while_a_death_is_told_does_not_end_the_watch(tmp_path: Path) -> None:
    async def script(scene: Scene, supervisor: Supervisor) -> None:
        await supervisor.start()
        scene.on_death = supervisor.start
        scene.kill()
        await scene.reached(Phase.RUNNING)
        scene.kill()
        await scene.reached(Phase.BACKING_OFF)
        await scene.reached(Phase.RUNNING)
        assert len(scene.told) == 2

    play(tmp_path, script)


def test_a_hook_that_fails_does_not_end_the_watch(tmp_path: Path) -> None:
    async def script(scene: Scene, supervisor: Supervisor) -> None:
        async def fail() -> None:
            raise FaultError(FaultKind.STORAGE, "the disk is full")

        await supervisor.start()
        scene.on_death = fail
        scene.kill()
        await scene.reached(Phase.FAILED)
        await supervisor.start()
        scene.kill()
        await scene.reached(Phase.BACKING_OFF)

    play(tmp_path, script)


def test_an_agent_that_cannot_be_started_again_is_given_up_loudly(tmp_path: Path) -> None:
    async def script(scene: Scene, supervisor: Supervisor) -> None:
        await supervisor.start()
        scene.fail_launch = True
        scene.kill()
        await scene.reached(Phase.FAILED)
        await supervisor.stop()  # waits for its turn, and so for what the death called for
        assert scene.given_up == ["no"]

    play(tmp_path, script)


def test_a_retired_agent_is_not_started_by_an_order_that_waited(tmp_path: Path) -> None:
    async def script(scene: Scene, supervisor: Supervisor) -> None:
        await supervisor.start()
        await supervisor.retire()
        with pytest.raises(FaultError) as refused:
            await supervisor.start()
        assert refused.value.kind is FaultKind.UNKNOWN_AGENT
        assert len(scene.launched) == 1

    play(tmp_path, script)


@pytest.mark.parametrize(
    ("exit_", "words"),
    [
        (Exit(status=3), "exited with status 3"),
        (Exit(signal=9), "killed by SIGKILL"),
        (Exit(signal=127), "killed by signal 127"),
        (Exit(), "ended, nobody saw how"),
        (Exit(status=137, oom=True), "killed for want of memory; limits.memory in agent.toml raises its limit"),
    ],
)
def test_every_way_to_end_has_its_words(exit_: Exit, words: str) -> None:
    assert how_it_ended(exit_) == words
