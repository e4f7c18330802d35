"""The API's description is OpenAPI 3.1, whole, and says of each operation what the table does."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from hyperhive.protocol.faults import FaultKind
from hyperhive.web.api.openapi import document
from hyperhive.web.api.operation import Operation
from hyperhive.web.api.operations import OPERATIONS
from hyperhive.web.faults import kind_of, status_of
from hyperhive.web.route import API

DOCUMENT = document()


def described(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][API + operation.path][operation.method.lower()]
    return found


def dicts_in(value: Any) -> Iterator[dict[str, Any]]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield value
    for child in children:
        yield from dicts_in(child)


def test_it_is_openapi() -> None:
    jsonschema_rs.Draft202012Validator(OPENAPI_31).validate(DOCUMENT)
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_whatever_it_refers_to_is_in_it_and_nothing_else() -> None:
    refs = {each["$ref"] for each in dicts_in(DOCUMENT) if "$ref" in each}
    parts = DOCUMENT["components"]
    there = {f"#/components/{part}/{name}" for part in ("schemas", "responses") for name in parts[part]}
    assert refs == there


def test_every_operation_is_described_once_under_a_name_of_its_own() -> None:
    names = [each["operationId"] for path in DOCUMENT["paths"].values() for each in path.values()]
    assert len(names) == len({*names}) == len(OPERATIONS) + 1
    assert DOCUMENT["security"] == [{"token": []}]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda row: f"{row.method} {row.path}")
def test_what_it_takes_is_what_the_table_reads(operation: Operation) -> None:
    said = described(operation)
    placed = {each["name"]: each["in"] for each in said["parameters"]}
    body = said.get("requestBody", {"content": {"application/json": {"schema": {"properties": {}}}}})
    in_body = set(body["content"]["application/json"]["schema"]["properties"])
    fields = {field.encode_name for field in operation.said_fields}
    assert {name for name, place in placed.items() if place == "path"} == {*operation.path_fields}
    assert in_body == (fields if operation.has_body else set())
    assert {name for name, place in placed.items() if place == "query"} == (set() if operation.has_body else fields)
    assert "cmd" not in in_body
    assert ("operate" in said.get("description", "")) == (operation.method != "GET")


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_has_a_status_that_is_described(kind: FaultKind) -> None:
    status = status_of(kind)
    assert str(status) in described(OPERATIONS[0])["responses"]
    assert (status >= 500) == (kind in ("internal", "backend", "storage", "unavailable"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 413, 414, 415, 421, 429, 500, 503])
def test_every_status_that_is_answered_before_a_handler_has_a_kind(status: int) -> None:
    assert (kind_of(status) is FaultKind.INTERNAL) == (status == 500)
