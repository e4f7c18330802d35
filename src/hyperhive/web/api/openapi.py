"""The API described in OpenAPI 3.1, from its table and the types on its wire."""

import asyncio
import functools
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import hyperhive
from hyperhive.protocol import host
from hyperhive.protocol.ids import MAX_NAME, NAME_PATTERN
from hyperhive.web.api.answering import JSON
from hyperhive.web.api.operation import Operation
from hyperhive.web.api.operations import OPERATIONS
from hyperhive.web.faults import Refused
from hyperhive.web.route import API, Access

_REFS: Final = "#/components/schemas/{name}"
_NAME: Final = {"type": "string", "pattern": f"^{NAME_PATTERN}$", "maxLength": MAX_NAME}
_REFUSALS: Final = {
    400: "What was asked is not right; `message` says what of it",
    401: "No token, or one that is wrong, revoked or has expired",
    403: "The token, or the operator, may not do this",
    404: "There is no such thing",
    408: "The request took too long to arrive",
    409: "Possible, but not as things are now",
    413: "Too large",
    414: "The address is too long",
    415: "The body is not JSON",
    421: "The hive is not called by a name that it knows",
    429: "Too fast, or too much of it waits; `message` says how long to wait",
    500: "A mistake of the hive's own; its log has the reason",
    502: "The container could not be made, started or stopped",
    503: "The other side is gone or did not answer in time; try again",
}
Schema = dict[str, Any]


async def description(_request: Request) -> Response:
    return Response(await asyncio.to_thread(encoded), media_type=JSON)


@functools.cache
def encoded() -> bytes:
    """The description, the same of the same version."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n"


def document() -> Schema:
    components = _components()
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(API + operation.path, {})[operation.method.lower()] = _operation(operation, components)
    paths[f"{API}/openapi.json"] = {"get": _own()}
    used = _used({"paths": paths, "refused": components["Refused"]}, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hyperhive",
            "version": hyperhive.__version__,
            "description": "What the dashboard shows and does, for programs. Answers have the fields that the verb "
            "of the same meaning gives on host.sock.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "From `hive token create NAME`"}
            },
            "responses": {f"Refused{status}": _refusal(status) for status in _REFUSALS},
            "schemas": {name: components[name] for name in sorted(used | {"Refused"})},
        },
    }


def _components() -> dict[str, Schema]:
    types = {operation.takes for operation in OPERATIONS}
    _, components = msgspec.json.schema_components(
        [host.Response, Refused, *sorted(types, key=lambda type: type.__name__)], ref_template=_REFS
    )
    return components


def _operation(operation: Operation, components: dict[str, Schema]) -> Schema:
    described: Schema = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "tags": [operation.path.split("/")[1]],
        "parameters": _parameters(operation, components),
        "responses": _responses(_answer(operation, components)),
    }
    if operation.access is Access.OPERATE:
        described["description"] = "Takes a token of the scope `operate`."
    if operation.has_body:
        schema = _body(operation, components)
        described["requestBody"] = {"content": {JSON: {"schema": schema}}, "required": bool(schema.get("required"))}
    return described


def _name(operation: Operation) -> str:
    words = operation.path.replace("{", "").replace("}", "").replace("-", "_").split("/")
    return "_".join([operation.method.lower(), *filter(None, words)])


def _parameters(operation: Operation, components: dict[str, Schema]) -> list[Schema]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": _in_path(operation, name, components)}
        for name in operation.path_fields
    ]
    if operation.has_body:
        return path
    return [
        *path,
        *(
            {"name": field.encode_name, "in": "query", "required": field.required,
             "schema": _in_query(_property(operation, field.encode_name, components))}
            for field in operation.said_fields
        ),
    ]  # fmt: skip


def _in_path(operation: Operation, name: str, components: dict[str, Schema]) -> Schema:
    match name:
        case "id":
            return {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
        case "name":
            return _NAME
        case _:
            return _property(operation, name, components)


def _in_query(schema: Schema) -> Schema:
    """What is not said is not there: nobody writes null into a query."""
    if "anyOf" not in schema:
        return schema
    some: list[Schema] = [each for each in schema["anyOf"] if each != {"type": "null"}]
    return some[0]


def _body(operation: Operation, components: dict[str, Schema]) -> Schema:
    fields = operation.said_fields
    properties = {field.encode_name: _property(operation, field.encode_name, components) for field in fields}
    required = [field.encode_name for field in fields if field.required]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _property(operation: Operation, name: str, components: dict[str, Schema]) -> Schema:
    schema: Schema = components[operation.takes.__name__]["properties"][name]
    return {**schema, **_NAME} if _is_agent(operation, name) else schema


def _is_agent(operation: Operation, name: str) -> bool:
    """Whether it is a name that an agent may have, and not whom a message is to, or whose rows to choose."""
    return operation.has_body and name in ("name", "to") and operation.takes is not host.Send


def _answer(operation: Operation, components: dict[str, Schema]) -> Schema:
    known = components["Response"]["properties"]
    return {
        "type": "object",
        "properties": {name: known[name] for name in (*operation.gives, *operation.may_give)},
        "required": [*operation.gives],
        "additionalProperties": False,
    }


def _responses(schema: Schema) -> Schema:
    refused = {str(status): {"$ref": f"#/components/responses/Refused{status}"} for status in _REFUSALS}
    return {"200": {"description": "Done", "content": {JSON: {"schema": schema}}}, **refused}


def _refusal(status: int) -> Schema:
    described: Schema = {
        "description": _REFUSALS[status],
        "content": {JSON: {"schema": {"$ref": _REFS.format(name="Refused")}}},
    }
    if status == 401:
        described["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return described


def _own() -> Schema:
    return {
        "operationId": "get_openapi_json",
        "summary": "This description",
        "tags": ["openapi.json"],
        "responses": _responses({"type": "object"}),
    }


def _used(value: Any, components: dict[str, Schema]) -> set[str]:
    """The components that are referred to from here, also by one another."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        match waiting.pop():
            case {"$ref": str(ref)} if ref.startswith(prefix := _REFS.format(name="")):
                name = ref.removeprefix(prefix)
                if name not in found:
                    found.add(name)
                    waiting.append(components[name])
            case dict(each):
                waiting.extend(each.values())
            case list(each):
                waiting.extend(each)
    return found
