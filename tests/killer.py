"""Runs a daemon that dies at a chosen step: `python killer.py FOLDER python -m hyperhive.cli serve ...`.

Every step it takes, one call at a boundary between modules begun or ended, is a line of FOLDER/steps. It kills itself
with SIGKILL at the step that FOLDER/die names, `LABEL NUMBER`, when it takes that step for the NUMBERth time; `Killer`
writes those files from the test's side.

A container whose agent says of itself that it dies or hangs at its start does so: its first process is killed or
frozen from outside, before it has said a word.
"""

import asyncio
import functools
import inspect
import os
import runpy
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

DIES: Final = "it dies at its start"
HANGS: Final = "it hangs at its start"


class Killer:
    """The test's side. `prefix` is for a `HiveProcess`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.prefix = (sys.executable, str(Path(__file__)), str(folder))
        self._steps, self._die = folder / "steps", folder / "die"

    def watch(self) -> None:
        """Count from here on."""
        self._die.unlink(missing_ok=True)
        self._steps.write_text("")

    def aim(self, step: str) -> None:
        """Count from here on, and die at that step."""
        self.watch()
        fresh = self._die.with_name("next")
        fresh.write_text(step)
        fresh.rename(self._die)

    def steps(self) -> list[str]:
        """Those taken, each with its number."""
        counts: Counter[str] = Counter()
        numbered = []
        for label in self._steps.read_text().splitlines():
            counts[label] += 1
            numbered.append(f"{label} {counts[label]}")
        return numbered


# the daemon's side


class _Steps:
    def __init__(self, folder: Path) -> None:
        self._steps, self._die = folder / "steps", folder / "die"
        self._lock = threading.Lock()

    def reach(self, label: str) -> None:
        with self._lock:
            if not self._steps.exists():
                return
            with self._steps.open("a") as steps:
                steps.write(f"{label}\n")
            if self._die.exists() and self._die.read_text() == f"{label} {self._taken(label)}":
                self._die.unlink()
                os.kill(os.getpid(), signal.SIGKILL)

    def _taken(self, label: str) -> int:
        return self._steps.read_text().splitlines().count(label)

    def wrap(self, owner: Any, *names: str) -> None:
        """Calls of these functions of a class or a module are steps from now on."""
        for name in names:
            setattr(owner, name, self._wrapped(getattr(owner, name), f"{owner.__name__.rpartition('.')[2]}.{name}"))

    def _wrapped(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        @functools.wraps(function)
        async def later(*args: Any, **kwargs: Any) -> Any:
            self.reach(f"before {label}")
            result = await function(*args, **kwargs)
            self.reach(f"after {label}")
            return result

        @functools.wraps(function)
        def at_once(*args: Any, **kwargs: Any) -> Any:
            self.reach(f"before {label}")
            result = function(*args, **kwargs)
            self.reach(f"after {label}")
            return result

        return later if inspect.iscoroutinefunction(function) else at_once


def _wrap_all(steps: _Steps) -> None:
    from hyperhive.api.agent import AgentDoors
    from hyperhive.broker.approvals import Approvals
    from hyperhive.broker.decisions import Decisions
    from hyperhive.broker.deployments import Deployments
    from hyperhive.broker.jobs import Jobs
    from hyperhive.broker.mailbox import Mailbox
    from hyperhive.broker.notices import Notices
    from hyperhive.broker.roster import Roster
    from hyperhive.config import trees
    from hyperhive.containers.runtime import Runtime
    from hyperhive.hub import directories
    from hyperhive.repos import proposed
    from hyperhive.repos.applied import Applied

    steps.wrap(Decisions, "approve", "decide_and_do", "end", "deny")
    steps.wrap(Jobs, "add", "begin")
    steps.wrap(Approvals, "cancel_of")
    steps.wrap(Deployments, "forget")
    steps.wrap(Applied, "create", "store", "tag", "set_main")
    steps.wrap(Roster, "add", "update", "destroy")
    steps.wrap(Mailbox, "register", "forget")
    steps.wrap(Notices, "_send")
    steps.wrap(AgentDoors, "open", "close")
    steps.wrap(Runtime, "start", "stop", "kill", "erase")
    steps.wrap(directories, "make", "make_runtime", "remove_runtime", "purge")
    steps.wrap(proposed, "seed")
    steps.wrap(trees, "remove")


def _spoil_starts() -> None:
    """Some containers come to grief right after their start."""
    from hyperhive.containers.runtime import Runtime
    from hyperhive.hub import plan

    start, spec_of = Runtime.start, plan.container_spec
    signals = {DIES: signal.SIGKILL, HANGS: signal.SIGSTOP}
    said: dict[str, str] = {}

    @functools.wraps(spec_of)
    def noted(agent: Any, **kwargs: Any) -> Any:
        spec = spec_of(agent, **kwargs)
        said[spec.name] = agent.settings.description
        return spec

    @functools.wraps(start)
    async def spoiled(self: Any, spec: Any) -> Any:
        running = await start(self, spec)
        number = signals.get(said.get(spec.name, ""))
        if number is not None and running.record.init is not None:
            os.kill(running.record.init.pid, number)
        return running

    plan.container_spec = noted
    Runtime.start = spoiled  # type: ignore[method-assign]


def main() -> None:
    folder, argv = Path(sys.argv[1]), sys.argv[3:]
    _spoil_starts()
    _wrap_all(_Steps(folder))
    assert argv[0] == "-m"
    sys.argv = argv[1:]
    asyncio.set_event_loop_policy(None)
    runpy.run_module(argv[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
