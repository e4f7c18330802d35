"""What is asked for, and what the operator decides."""

from collections.abc import AsyncIterator

from msgspec import structs

from hyperhive.api.answers import DONE, encoded_size
from hyperhive.api.batches import in_batches, newest_within
from hyperhive.broker.approvals import ApprovalRow
from hyperhive.hub.hive import Hive
from hyperhive.hub.steering import check_ref
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def request_spawn(hive: Hive, ask: host.RequestSpawn) -> Response:
    return _queued(await hive.shape.request_spawn(ask.name, ask.description))


async def request_init_config(hive: Hive, ask: host.RequestInitConfig) -> Response:
    return _queued(await hive.shape.request_init_config(ask.name, ask.description))


async def request_apply_commit(hive: Hive, ask: host.RequestApplyCommit) -> Response:
    if ask.commit_ref:
        check_ref(ask.commit_ref)
    return _queued(await hive.shape.request_apply_commit(ask.name, ask.commit_ref, ask.description))


async def edit_config(hive: Hive, ask: host.EditConfig) -> Response:
    return _queued(await hive.shape.edit_config(ask.name, ask.text, ask.base, ask.description))


async def meta_inputs(hive: Hive, _: host.MetaInputs) -> Response:
    return Response(meta_inputs=await hive.shape.inputs())


async def request_update_meta_inputs(hive: Hive, ask: host.RequestUpdateMetaInputs) -> Response:
    return _queued(await hive.shape.request_update_inputs(ask.inputs, ask.description))


def _queued(row: ApprovalRow) -> Response:
    return Response(ids=[row.id], approvals=[row.on_wire()])


async def pending(hive: Hive, _: host.Pending) -> Response:
    return Response(approvals=newest_within((await hive.shape.listed())[::-1], encoded_size)[::-1])


async def approve(hive: Hive, ask: host.Approve) -> Response:
    await hive.shape.approve(ask.id, ask.sha)
    return DONE


async def deny(hive: Hive, ask: host.Deny) -> Response:
    await hive.shape.deny(ask.id, ask.reason)
    return DONE


async def diff(hive: Hive, ask: host.Diff) -> AsyncIterator[Response]:
    async for part in hive.shape.diff(ask.id, ask.base):
        for smaller in _parts(part):
            yield Response(diff=smaller)
    yield Response(done=True)


def _parts(part: host.ApprovalDiff) -> list[host.ApprovalDiff]:
    """A file's lines over as many answers as they need."""
    cut = [
        structs.replace(part, files=[structs.replace(file, lines=lines)])
        for file in part.files
        for lines in in_batches(file.lines, encoded_size) or [[]]
    ]
    return cut or [part]


async def rollback(hive: Hive, ask: host.Rollback) -> Response:
    return Response(queued_dags=[(await hive.shape.rollback(ask.name, ask.to)).id])


async def deployments(hive: Hive, ask: host.Deployments) -> Response:
    return Response(deployments=await hive.shape.deployed(ask.name, ask.limit))


async def config(hive: Hive, ask: host.Config) -> Response:
    return Response(config=await hive.shape.config(ask.name))
