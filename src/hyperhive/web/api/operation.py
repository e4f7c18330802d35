"""A row of the API's table, and what it makes of a request."""

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final, get_args

import msgspec
from starlette.requests import Request

from hyperhive.api.answers import Answer
from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.web.route import Access

GET: Final = "GET"
POST: Final = "POST"
DELETE: Final = "DELETE"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a method and a path ask of the hive: the request `takes`, which `answers` answers.

    The fields of the request that the path does not name stand in the query of GET and DELETE, and in the JSON body of
    POST. Fields that are not known are ignored, as on host.sock.
    """

    method: str
    path: str  #: below /api/v1, with the names of fields in braces
    takes: type[msgspec.Struct]
    answers: Callable[[Hive, Any], Answer]
    gives: tuple[str, ...] = ()  #: fields of host.sock's answer that this one has
    may_give: tuple[str, ...] = ()  #: and those that it has now and then
    summary: str
    fixed: Mapping[str, Any] = field(default_factory=dict)  #: fields of which a caller has no say
    whom: str = ""  #: the field in which the path's name stands as a scope of one agent

    @property
    def access(self) -> Access:
        return Access.READ if self.method == GET else Access.OPERATE

    @property
    def has_body(self) -> bool:
        return self.method == POST

    @property
    def path_fields(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def said_fields(self) -> tuple[msgspec.structs.FieldInfo, ...]:
        """Those of the query or the body."""
        elsewhere = {*self.path_fields, *self.fixed, self.whom}
        return tuple(field for field in msgspec.structs.fields(self.takes) if field.encode_name not in elsewhere)

    async def read(self, request: Request) -> Any:
        """What is asked; raises FaultError (`malformed`, `invalid_params`)."""
        try:
            said = self._of_body(await request.body()) if self.has_body else self._of_query(request)
            return msgspec.json.decode(
                msgspec.json.encode({**said, **self._placed(request.path_params)}), type=self.takes
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FaultError(FaultKind.INVALID_PARAMS, f"cannot read the request: {error}") from None

    def _of_body(self, body: bytes) -> dict[str, Any]:
        """Nothing at all is an object without fields."""
        try:
            said = msgspec.json.decode(body or b"{}", type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FaultError(FaultKind.MALFORMED, f"cannot read the request: not one JSON object: {error}") from None
        return {field.encode_name: said[field.encode_name] for field in self.said_fields if field.encode_name in said}

    def _of_query(self, request: Request) -> dict[str, Any]:
        pairs = request.query_params.multi_items()
        said = dict(pairs)
        if len(said) < len(pairs):
            raise FaultError(FaultKind.INVALID_PARAMS, "cannot read the request: its query has a name twice")
        return {
            field.encode_name: msgspec.convert(said[field.encode_name], _written(field.type), strict=False)
            for field in self.said_fields
            if field.encode_name in said
        }

    def _placed(self, path: Mapping[str, Any]) -> dict[str, Any]:
        placed = {self.whom: {"agent_names": [path["name"]]}} if self.whom else path
        return {**placed, **self.fixed}


def _written(kind: Any) -> Any:
    """What may stand in a query: any text but none, for `null` is a name like any other."""
    kinds = [each for each in get_args(kind) if each is not NoneType]
    return functools.reduce(operator.or_, kinds) if NoneType in get_args(kind) else kind
