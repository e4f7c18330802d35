"""An operation answered over HTTP: all that host.sock would say of it, in one object."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from hyperhive.api.answers import Answer, encoded_size
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError
from hyperhive.web.api.operation import Operation
from hyperhive.web.faults import as_json, status_of
from hyperhive.web.route import hive_of

JSON: Final = "application/json"
MAX_ANSWER: Final = 16 << 20
"""Bytes after which an answer that comes in parts is not gone on with."""
CUT: Final = "the answer is not whole: it would be too large; ask for less at once"
_ABOUT_THE_ANSWER: Final = frozenset({"version", "ok", "error", "error_kind"})
"""What the status of HTTP and the path say."""
_encode: Final = msgspec.json.Encoder().encode


async def answer(operation: Operation, request: Request) -> Response:
    try:
        asked = await operation.read(request)
        fields = await _fields(operation.answers(hive_of(request), asked))
    except FaultError as fault:
        return Response(as_json(fault.kind, fault.message), status_of(fault.kind), media_type=JSON)
    return Response(_encode(fields), media_type=JSON)


async def _fields(answer: Answer) -> dict[str, Any]:
    """Those that are set, of all parts together."""
    if not isinstance(answer, AsyncIterator):
        return _set_of(await answer)
    fields: dict[str, Any] = {}
    size = 0
    async with contextlib.aclosing(answer) as parts:  # type: ignore[type-var]  # all our iterators are generators
        async for part in parts:
            size += encoded_size(part)
            if size > MAX_ANSWER:
                fields["warning"] = CUT
                break
            for name, value in _set_of(part).items():
                fields[name] = _joined(fields[name], value) if name in fields else value
    return fields


def _set_of(part: host.Response) -> dict[str, Any]:
    values = {name: getattr(part, name) for name in part.__struct_fields__ if name not in _ABOUT_THE_ANSWER}
    return {name: value for name, value in values.items() if value is not UNSET}


def _joined(before: Any, more: Any) -> Any:
    """Lists go on, and so does a diff; of anything else the latest holds."""
    if isinstance(before, list):
        before.extend(more)
        return before
    if isinstance(before, host.ApprovalDiff):
        for file in more.files:
            _add(before.files, file)
        return before
    return more


def _add(files: list[host.DiffFile], file: host.DiffFile) -> None:
    """The parts of a long file follow each other under one path."""
    if files and files[-1].path == file.path:
        files[-1].lines.extend(file.lines)
    else:
        files.append(file)
