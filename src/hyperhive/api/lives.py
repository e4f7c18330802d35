"""The agents' lives: each verb is a job, and its answer comes when the job has ended."""

from typing import Any, Final

from hyperhive.api.answers import DONE
from hyperhive.broker.jobs import JobDraft, JobKind, JobState
from hyperhive.hub.budgets import how_on
from hyperhive.hub.hive import Hive
from hyperhive.hub.queue import kind_of_failure, succeeded
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import LifecycleScope, Response
from hyperhive.protocol.ids import MANAGER, OPERATOR, agent_name, known_form

MAX_JOBS: Final = 500


async def spawn(hive: Hive, ask: host.Spawn) -> Response:
    name = agent_name(ask.name)
    if name in hive.fleet:
        raise FaultError(FaultKind.NAME_TAKEN, f"cannot spawn {name!r}: there is an agent of that name")
    if ask.backend is not None:
        hive.fleet.house.keepers.of(ask.backend)
    return await _job(hive, JobKind.SPAWN, name, model=ask.model, description=ask.description, backend=ask.backend)


async def revive(hive: Hive, ask: host.Revive) -> Response:
    if known_form(ask.name) not in {tombstone.name for tombstone in await hive.fleet.tombstones()}:
        raise FaultError(
            FaultKind.UNKNOWN_AGENT, f"cannot revive {ask.name!r}: there is no tombstone of it; hive tombstones"
        )
    return await spawn(hive, host.Spawn(name=ask.name))


async def destroy(hive: Hive, ask: host.Destroy) -> Response:
    name = known_form(ask.name)
    if name == MANAGER:
        raise FaultError(FaultKind.NOT_ALLOWED, "cannot destroy the manager")
    if ask.purge and name not in hive.fleet:
        return await purge(hive, host.Purge(name=name))
    return await _job(hive, JobKind.DESTROY, hive.fleet.get(name).name, purge=ask.purge)


async def purge(hive: Hive, ask: host.Purge) -> Response:
    return await _job(hive, JobKind.PURGE, known_form(ask.name))


async def rebuild(hive: Hive, ask: host.Rebuild) -> Response:
    return await _job(hive, JobKind.REBUILD, hive.fleet.get(ask.name).name)


async def move(hive: Hive, ask: host.Move) -> Response:
    agent = hive.fleet.get(ask.name)
    hive.fleet.house.keepers.of(ask.backend)
    if agent.row.backend is ask.backend:
        raise FaultError(FaultKind.WRONG_STATE, f"cannot move {agent.name!r}: its backend is {ask.backend} already")
    if BackendKind.NIXOS in (agent.row.backend, ask.backend):
        raise FaultError(
            FaultKind.WRONG_STATE,
            f"cannot move {agent.name!r} from {agent.row.backend} to {ask.backend}: a system of NixOS wants a config "
            f"and a uid of its own; `hive spawn OTHER --backend {ask.backend}` makes an agent beside it, `hive config "
            f"{agent.name}` shows what to propose for that one, and what this one knows it can put into /shared; then "
            f"`hive destroy {agent.name}`",
        )
    await hive.shape.configs.check(
        agent.name, agent.config.sha, [str(name) for name in hive.fleet.names()], backend=ask.backend
    )
    return await _job(hive, JobKind.MOVE, agent.name, backend=ask.backend.value, before=agent.row.backend.value)


async def update_all(hive: Hive, _: host.UpdateAll) -> Response:
    """Its own job only queues the rebuilds; those are what is waited for."""
    row = await hive.queue.done(_draft(JobKind.UPDATE_ALL, ""))
    rebuilds = [job for job in await hive.queue.jobs.newest(MAX_JOBS) if job.parent == row.id]
    ended = [await hive.queue.ended(job.id) for job in rebuilds]
    failed = [f"{job.agent}: {job.error}" for job in ended if job.state is not JobState.DONE]
    if failed:
        raise FaultError(FaultKind.BACKEND, "\n".join(failed))
    return Response(queued_dags=[row.id, *(job.id for job in ended)])


async def start(hive: Hive, ask: host.Start) -> Response:
    return await _to_each(hive, _in_scope(hive, ask.scope, "start"), JobKind.START)


async def stop(hive: Hive, ask: host.Stop) -> Response:
    return await _to_each(hive, _in_scope(hive, ask.scope, "stop"), JobKind.STOP, graceful=ask.graceful)


async def kill(hive: Hive, ask: host.Kill) -> Response:
    return await _job(hive, JobKind.STOP, hive.fleet.get(ask.name).name)


async def restart(hive: Hive, ask: host.Restart) -> Response:
    return await _job(hive, JobKind.RESTART, hive.fleet.get(ask.name).name)


async def set_paused(hive: Hive, ask: host.SetPaused) -> Response:
    await hive.fleet.set_paused(ask.name, ask.paused)
    if not ask.paused:
        await hive.limits.resume(ask.name)
        await hive.fleet.let_up(ask.name)
    over = hive.fleet.get(ask.name).over_budget
    if over and not ask.paused:
        return Response(warning=f"it still takes no turn: {over}; {how_on(ask.name)}")
    return DONE


async def _to_each(hive: Hive, names: list[str], kind: JobKind, **params: Any) -> Response:
    """Do it to all of them, also when it fails for some; those are what is raised."""
    rows = [await hive.queue.submit(_draft(kind, name, **params)) for name in names]
    ended = [await hive.queue.ended(row.id) for row in rows]
    failed = [row for row in ended if row.state is not JobState.DONE]
    if len(failed) == 1:
        succeeded(failed[0])
    if failed:
        raise FaultError(kind_of_failure(failed[0]), "\n".join(row.error for row in failed))
    return DONE


async def _job(hive: Hive, kind: JobKind, name: str, **params: Any) -> Response:
    await hive.queue.done(_draft(kind, name, **params))
    return DONE


def _draft(kind: JobKind, name: str, **params: Any) -> JobDraft:
    given = {key: value for key, value in params.items() if value not in (None, "", False)}
    return JobDraft(agent=name, kind=kind, params=given, source="operator", requester=OPERATOR)


def _in_scope(hive: Hive, scope: LifecycleScope, verb: str) -> list[str]:
    """Whom the scope means; nobody is meant by an empty one."""
    if scope.all or scope.agents:
        return [str(name) for name in hive.fleet.names()]
    if scope.agent_names:
        return [hive.fleet.get(name).name for name in scope.agent_names]
    raise FaultError(
        FaultKind.INVALID_PARAMS,
        f"cannot {verb} an empty scope: name the agents in agent_names, or pass all: true to mean every one",
    )
