"""The API does what its description says, whatever it is asked: schemathesis reads the one and asks the other."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from api_program import Program
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.web.api.openapi import document

AGENT = "scout"
SPAWNS = {"/api/v1/agents", "/api/v1/tombstones/{name}/revive"}
"""Each time it is right a container is made."""
FOR_ALL = {"/api/v1/start", "/api/v1/stop", "/api/v1/update-all"}
WAITS = {"/api/v1/messages/{id}/reply"}
MORE_THAN_A_SCHEMA_SAYS = {
    "POST /api/v1/agents/{name}/model",
    "POST /api/v1/agents/{name}/config",
    "POST /api/v1/agents/{name}/budget/top-up",
    "POST /api/v1/budgets/top-up",
}
"""Which models there are claude knows, what agent.toml may say has a page of its own, and nothing cannot be added."""


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    """One of everything that can be made without a turn."""
    with running_hive(dashboard=True) as (hive, _):
        hive.ask(host.Spawn(name=AGENT))
        hive.ask(host.Ask(to=AGENT, question="how far?"))
        hive.send(AGENT, "hello")
        hive.send("operator", "good morning")
        base = hive.ask(host.Config(name=AGENT)).config
        assert isinstance(base, host.AgentConfig)
        hive.ask(host.EditConfig(name=AGENT, text=f'{base.text}\n[env]\nA = "1"\n', base=base.sha))
        yield hive


def described() -> dict[str, Any]:
    """The API's description, with examples that lead to what is there."""
    whole = document()
    whole["paths"] = {
        path: {method: _with_examples(method, operation) for method, operation in item.items()}
        for path, item in whole["paths"].items()
    }
    return whole


def _with_examples(method: str, operation: dict[str, Any]) -> dict[str, Any]:
    examples = {"name": "nobody" if method == "delete" else AGENT, "id": 1, "schedule": "daily"}
    return {
        **operation,
        "parameters": [
            {**each, "example": examples[each["name"]]} if each["in"] == "path" else each
            for each in operation.get("parameters", [])
        ],
    }


def failures(hive: HiveProcess, methods: set[str], scope: Literal["read", "operate"], examples: int) -> Iterator[str]:
    """What a bounded run that is the same every time finds; every operation is asked."""
    program = Program.of(hive, scope)
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "base-url": f"http://{program.visitor.host}",
            "headers": {"Authorization": f"Bearer {program.token}"},
            "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True, "database": "none"},
            "phases": {"stateful": {"enabled": False}, "coverage": {"unexpected-methods": ["PUT"]}},
        }
    )  # fmt: skip
    schema = schemathesis.openapi.from_dict(described(), config=config).include(method=[*methods])
    schema = schema.exclude(path=[*WAITS]).exclude(path=[*SPAWNS, *FOR_ALL], method=["POST"])
    asked = set()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            yield repr(event)
        if isinstance(event, events.ScenarioFinished):
            asked.add(event.label)
            yield from _failed(event)
    assert len(asked) == schema.statistic.operations.selected


def _failed(event: events.ScenarioFinished) -> Iterator[str]:
    for checks in event.recorder.checks.values():
        for check in checks:
            if check.failure_info:
                said = check.failure_info.failure.message
                if not _is_as_it_should_be(str(event.label), check.name, said):
                    yield f"{event.label}: {check.name}: {said}\n{check.failure_info.code_sample}"


def _is_as_it_should_be(operation: str, check: str, message: str) -> bool:
    """A wrong token that was tried once too often, or what a schema cannot know."""
    slowed_down = check == "ignored_auth" and "429 Too Many Requests" in message
    return slowed_down or (check == "positive_data_acceptance" and operation in MORE_THAN_A_SCHEMA_SAYS)


@pytest.mark.container
@pytest.mark.timeout(180)
def test_looking_with_a_token_that_may_look_is_answered_as_described(hive: HiveProcess) -> None:
    assert [*failures(hive, {"GET"}, "read", examples=4)] == []


@pytest.mark.container
@pytest.mark.timeout(180)
def test_whatever_a_program_asks_to_be_done_is_answered_as_described(hive: HiveProcess) -> None:
    assert [*failures(hive, {"POST", "DELETE"}, "operate", examples=2)] == []
    assert hive.ask(host.Hello()).ok
