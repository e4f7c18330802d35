"""The events of a streamed answer, as bytes."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from hyperhive.rehearsal.script import Usage

PIECE: Final = 12
"""Characters in one delta of a text."""

_encode: Final = msgspec.json.Encoder().encode


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), _encode({"type": kind, **fields}))


PING: Final = event("ping")
GARBAGE: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":\n\n'


def message_start(reply_id: str, model: str, usage: Usage) -> bytes:
    return event("message_start", message=message(reply_id, model, [], None, usage))


def message_end(stop_reason: str, usage: Usage) -> bytes:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    ended = event("message_delta", delta=delta, usage={"output_tokens": usage.output})
    return ended + event("message_stop")


def block_start(index: int, block: dict[str, Any]) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def block_delta(index: int, delta: dict[str, Any]) -> bytes:
    return event("content_block_delta", index=index, delta=delta)


def block_stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def error(kind: str, text: str) -> bytes:
    return event("error", error={"type": kind, "message": text})


def message(
    reply_id: str, model: str, content: list[dict[str, Any]], stop_reason: str | None, usage: Usage
) -> dict[str, Any]:
    """The answer as one JSON object, as it is when not streamed."""
    return {
        "id": reply_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.input,
            "output_tokens": usage.output if stop_reason else 1,
            "cache_read_input_tokens": usage.cache_read,
            "cache_creation_input_tokens": usage.cache_creation,
        },
    }


def pieces(text: str) -> Iterator[str]:
    """The text in parts, at least one."""
    yield text[:PIECE]
    for at in range(PIECE, len(text), PIECE):
        yield text[at : at + PIECE]
