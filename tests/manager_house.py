"""What acceptance tests of the manager and of agents' shape share: a real hive, asked as each side asks it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import msgspec

from hyperhive.protocol import host
from hyperhive.protocol.host import InboxRow
from hyperhive.testing.hive_process import PATIENCE_S, HiveProcess
from outsider import Outsider


def asks(hive: HiveProcess, agent: str, method: str, /, **params: Any) -> Any:
    """One call on the agent's own socket, as anything in its container could make it."""
    with Outsider(hive.paths.agent_socket(agent)) as client:
        return client.call(method, **params)


def refused(answer: Any) -> str:
    """The words of a refusal."""
    assert answer.get("data", {}).get("kind") == "not_allowed", answer
    return str(answer["message"])


def at_rest(hive: HiveProcess, *names: str) -> None:
    """Up, and never to begin a turn: claude is not started."""
    for name in names:
        hive.until(name, lambda row: bool(row.active_model))
        hive.ask(host.SetPaused(name=name, paused=True))


def spawned(hive: HiveProcess, name: str, toml: str = "") -> None:
    """The same, made by the operator with this agent.toml."""
    if toml:
        hive.prepare(name, toml)
    hive.ask(host.Spawn(name=name))
    at_rest(hive, name)


def letters(hive: HiveProcess, name: str) -> list[InboxRow]:
    """All mail that ever came for the name, the oldest first."""
    rows = hive.ask(host.Inbox(name=name, limit=1000)).inbox
    assert isinstance(rows, list)
    return rows


def events_to(hive: HiveProcess, name: str, event: str = "") -> list[dict[str, Any]]:
    """The helper events among its mail."""
    return [told for told in map(_event, letters(hive, name)) if told.get("event") and event in ("", told["event"])]


def told(hive: HiveProcess, name: str, event: str, /, **fields: Any) -> dict[str, Any]:
    """The first such event in the name's mail, as soon as it is there."""

    def fits(row: InboxRow) -> bool:
        found = _event(row)
        return found.get("event") == event and fields.items() <= found.items()

    return _event(asyncio.run(_arrives(hive, name, fits)))


def written(hive: HiveProcess, name: str, body: str) -> InboxRow:
    """The first message to the name with this in its body, as soon as it is there."""
    return asyncio.run(_arrives(hive, name, lambda row: body in row.body))


async def _arrives(hive: HiveProcess, name: str, fits: Callable[[InboxRow], bool]) -> InboxRow:
    async with asyncio.timeout(PATIENCE_S), aclosing(hive.client.stream(host.Watch())) as news:
        async for _ in news:
            for row in (await hive.client.call(host.Inbox(name=name, limit=1000))).inbox or []:
                if fits(row):
                    return row
    raise AssertionError("the hive ended the watch")


def _event(row: InboxRow) -> dict[str, Any]:
    if row.sender != "system" or not row.body.startswith("{"):
        return {}
    found: dict[str, Any] = json.loads(row.body)
    return found


def approval(hive: HiveProcess, number: int) -> host.Approval:
    rows = hive.ask(host.Pending()).approvals
    assert isinstance(rows, list)
    return next(row for row in rows if row.id == number)


def undecided(hive: HiveProcess) -> list[int]:
    return [row.id for row in hive.ask(host.Pending()).approvals or [] if row.status == "pending"]


def proposed(hive: HiveProcess, agent: str, kind: str = "apply_commit") -> host.Approval:
    """The approval of this kind that waits for the operator, as soon as there is one."""
    return asyncio.run(_proposed(hive, agent, kind))


async def _proposed(hive: HiveProcess, agent: str, kind: str) -> host.Approval:
    async with asyncio.timeout(PATIENCE_S), aclosing(hive.client.stream(host.Watch())) as news:
        async for _ in news:
            for row in (await hive.client.call(host.Pending())).approvals or []:
                if (row.agent, row.kind, row.status) == (agent, kind, "pending"):
                    return row
    raise AssertionError("the hive ended the watch")


def cli(hive: HiveProcess, *words: str, fails: bool = False, timeout_s: float = PATIENCE_S) -> str:
    """What the operator's command prints, on both of its outputs."""
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8", **hive.paths.environment()}
    done = subprocess.run(
        [sys.executable, "-m", "hyperhive.cli", *words],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, said
    return said


def inside(hive: HiveProcess, name: str, script: str) -> str:
    """What a shell script prints in the agent's container, errors and all."""
    shell = hive.ask(host.Shell(name=name)).shell
    assert isinstance(shell, host.ShellCommand)
    done = subprocess.run(shell.argv, input=script, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.stdout + done.stderr


def document(hive: HiveProcess, name: str) -> dict[str, Any]:
    """The agent.json that its container has."""
    found: dict[str, Any] = msgspec.json.decode((hive.paths.agent_runtime(name) / "agent.json").read_bytes())
    return found
