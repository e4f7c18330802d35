"""One tool: what claude is told of it, what it takes, and what carries it out."""

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from hyperhive.harness.link import ANSWER_S, Link
from hyperhive.harness.turns import Turns
from hyperhive.harness.wire import ToolOffer
from hyperhive.protocol.rpc import Method

P = TypeVar("P")
R = TypeVar("R")

MAX_LISTED: Final = 48 * 1024
"""Characters of a list that claude is given."""
MAX_NUMBER: Final = 2**53
Number = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
"""The number of a message, a question, a request."""


class Input(Struct, forbid_unknown_fields=True):
    """What a tool takes: its schema for claude and what is checked when it is called are made from the same fields."""


class NoInput(Input):
    pass


class Refusal(Exception):  # noqa: N818 (an answer, not a mistake of ours)
    """The tool's answer is that it can't."""


class Tool(Struct, frozen=True, kw_only=True):
    name: str
    says: str  #: what claude is told that it does
    takes: type[Input]
    carry_out: Callable[[Any], Awaitable[str]]

    @property
    def offer(self) -> ToolOffer:
        _, shapes = msgspec.json.schema_components((self.takes,))
        schema = {key: value for key, value in shapes[self.takes.__name__].items() if key in _SCHEMA}
        return ToolOffer(name=self.name, description=self.says, schema=Raw(msgspec.json.encode(schema)))

    async def use(self, arguments: Raw) -> str:
        """Raises Refusal, FaultError or msgspec.ValidationError; their text is for claude."""
        return await self.carry_out(msgspec.json.decode(arguments, type=self.takes))


_SCHEMA: Final = frozenset({"type", "properties", "required", "additionalProperties"})


class Hive:
    """The hive as tools call it."""

    def __init__(self, link: Link, turns: Turns) -> None:
        self._link = link
        self._turns = turns

    async def call(self, method: Method[P, R], params: P, *, answer_s: float = ANSWER_S) -> R:
        """Ask with these parameters, the same again after a lost connection. Raises the hive's FaultError."""
        return await self._link.call(method, lambda _: params, answer_s=answer_s)

    def new_mid(self) -> str:
        """What the hive knows a retry by: to be made once, before the first try."""
        turn = self._turns.current
        return turn.next_mid() if turn is not None else os.urandom(8).hex()


def listed(entries: Sequence[str], *, empty: str) -> str:
    """The entries one below the other, as many as claude can take; `empty` where there are none."""
    shown: list[str] = []
    size = 0
    for entry in entries:
        size += len(entry)
        if shown and size > MAX_LISTED:
            return "\n\n".join([*shown, f"{len(entries) - len(shown)} more are not shown"])
        shown.append(entry)
    return "\n\n".join(shown) or empty
