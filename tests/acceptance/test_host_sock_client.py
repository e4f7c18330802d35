"""A client written from the description of host.sock alone meets the real daemon."""

import json
from typing import Any

import pytest

from hyperhive.testing.hive_process import HiveProcess, running_hive
from outsider import Outsider, ask

SUCCESS = b'{"version":1,"ok":true}\n'
GHOST = 'agent "ghost" is not managed by this hive'
ROW_KEYS = [
    "name", "running", "failed", "needs_update", "needs_login", "deployed_sha", "pending_reminders", "paused",
    "parent", "active_model", "status_text", "status_set_at", "url",
]  # fmt: skip
ALWAYS = ["name", "running", "failed", "needs_update", "needs_login", "pending_reminders", "paused"]


def connected(hive: HiveProcess) -> Outsider:
    return Outsider(hive.paths.host_socket)


def say(hive: HiveProcess, request: str) -> Any:
    return ask(hive.paths.host_socket, request)


def spawn(hive: HiveProcess, name: str) -> None:
    assert say(hive, f'{{"cmd":"spawn","name":"{name}"}}') == {"version": 1, "ok": True}


def row(hive: HiveProcess, name: str) -> dict[str, Any]:
    rows = say(hive, '{"cmd":"agent_status"}')["agent_statuses"]
    return next(each for each in rows if each["name"] == name)


# the roster


def test_an_empty_hive_answers_with_empty_lists(empty: HiveProcess) -> None:
    assert say(empty, '{"cmd":"list"}') == {"version": 1, "ok": True, "agents": []}
    assert say(empty, '{"cmd":"agent_status"}') == {"version": 1, "ok": True, "agent_statuses": []}
    assert say(empty, '{"cmd":"pending"}') == {"version": 1, "ok": True, "approvals": []}


def test_urls_are_null_where_there_is_nothing_to_point_to(empty: HiveProcess) -> None:
    nothing = {"domain": None, "home": None, "forge": None, "matrix": None}
    assert say(empty, '{"cmd":"urls"}') == {"version": 1, "ok": True, "urls": nothing}


@pytest.mark.container
def test_rows_have_the_keys_of_the_description_in_their_order(hive: HiveProcess) -> None:
    spawn(hive, "alpha")
    spawn(hive, "beta")
    assert say(hive, '{"cmd":"list"}')["agents"] == ["alpha", "beta"]
    for each in say(hive, '{"cmd":"agent_status"}')["agent_statuses"]:
        described = [key for key in each if key in ROW_KEYS]
        assert described == [key for key in ROW_KEYS if key in each]
        assert list(each)[: len(described)] == described, "ours come behind theirs"
        assert set(ALWAYS) <= set(each)
        assert None not in each.values(), "what is not known is left out"
        assert not {"parent", "url", "status_text", "status_set_at"} & set(each)
        assert len(each["deployed_sha"]) == 12
        assert (each["running"], each["failed"], each["pending_reminders"]) == (True, False, 0)


@pytest.mark.container
def test_a_status_text_has_its_time_and_is_shown_only_while_the_container_runs(hive: HiveProcess) -> None:
    spawn(hive, "alpha")
    with Outsider(hive.paths.agent_socket("alpha")) as agent:
        agent.call("set_status", text="writing tests")
    shown = row(hive, "alpha")
    assert shown["status_text"] == "writing tests"
    assert len(shown["status_set_at"]) == len("2026-09-07T12:34:56Z")
    assert shown["status_set_at"].endswith("Z")
    assert say(hive, '{"cmd":"stop","scope":{"agent_names":["alpha"]},"graceful":false}')["ok"]
    assert not {"status_text", "status_set_at"} & set(row(hive, "alpha"))


@pytest.mark.container
def test_a_subscriber_gets_a_bare_success_and_then_one_row_a_line_as_agents_change(hive: HiveProcess) -> None:
    spawn(hive, "alpha")
    with connected(hive) as subscriber:
        subscriber.write(b'{"cmd":"subscribe_agent_status"}\n')
        assert subscriber.line() == SUCCESS
        subscriber.write(b'{"cmd":"list"}\n')  # it reads no further requests, and goes on
        spawn(hive, "beta")
        say(hive, '{"cmd":"set_paused","name":"beta","paused":true}')
        seen: list[dict[str, Any]] = []
        while not seen or not (seen[-1]["name"] == "beta" and seen[-1]["paused"]):
            answer = subscriber.read()
            assert answer.keys() == {"version", "ok", "agent_statuses"}
            (changed,) = answer["agent_statuses"]
            seen.append(changed)
        assert any(each["name"] == "beta" and not each["paused"] for each in seen)


# run state


@pytest.mark.container
def test_pausing_is_idempotent_both_ways_and_works_on_a_stopped_agent(hive: HiveProcess) -> None:
    spawn(hive, "alpha")
    with connected(hive) as client:
        for stop_first in (False, True):
            if stop_first:
                client.ask('{"cmd":"stop","scope":{"agent_names":["alpha"]}}')
            for paused in (True, True, False, False):
                client.write(f'{{"cmd":"set_paused","name":"alpha","paused":{json.dumps(paused)}}}\n'.encode())
                assert client.line() == SUCCESS
                assert row(hive, "alpha")["paused"] is paused
        assert row(hive, "alpha")["running"] is False


@pytest.mark.container
@pytest.mark.parametrize("graceful", [True, False])
def test_stop_and_start_answer_when_it_is_so_and_do_nothing_when_it_is_so_already(
    hive: HiveProcess, graceful: bool
) -> None:
    spawn(hive, "alpha")
    stop = f'{{"cmd":"stop","scope":{{"agent_names":["alpha"]}},"graceful":{json.dumps(graceful)}}}\n'
    start = '{"cmd":"start","scope":{"agent_names":["alpha"]}}\n'
    with connected(hive) as client:
        for request, running in ((stop, False), (stop, False), (start, True), (start, True)):
            client.write(request.encode())
            assert client.line() == SUCCESS
            assert row(hive, "alpha")["running"] is running


@pytest.mark.container
def test_a_restart_puts_another_container_in_place(hive: HiveProcess) -> None:
    spawn(hive, "alpha")
    before = (hive.paths.containers / "h-alpha" / "record.json").read_bytes()
    with connected(hive) as client:
        client.write(b'{"cmd":"restart","name":"alpha"}\n')
        assert client.line() == SUCCESS
    assert row(hive, "alpha")["running"]
    assert (hive.paths.containers / "h-alpha" / "record.json").read_bytes() != before


@pytest.mark.container
def test_a_scope_means_those_it_names_or_all(hive: HiveProcess) -> None:
    spawn(hive, "alpha")
    spawn(hive, "beta")

    def running() -> list[bool]:
        return [each["running"] for each in say(hive, '{"cmd":"agent_status"}')["agent_statuses"]]

    say(hive, '{"cmd":"stop","scope":{"agent_names":["beta"],"ci":false,"forge":false},"graceful":false}')
    assert running() == [True, False]
    say(hive, '{"cmd":"stop","scope":{"all":true},"graceful":false}')
    assert running() == [False, False]
    say(hive, '{"cmd":"start","scope":{"agents":true}}')
    assert running() == [True, True]
    refused = say(hive, '{"cmd":"stop","scope":{"agent_names":["alpha","ghost"]},"graceful":false}')
    assert GHOST in refused["error"]
    assert running() == [True, True], "a scope with a name that is not there changes nothing"


@pytest.mark.parametrize("verb", ["start", "stop"])
@pytest.mark.parametrize("scope", ["{}", '{"agent_names":[]}', '{"agents":false,"all":false}', '{"ci":true}'])
def test_a_scope_that_means_no_agent_is_refused_with_the_way_to_say_all(
    empty: HiveProcess, verb: str, scope: str
) -> None:
    refused = say(empty, f'{{"cmd":"{verb}","scope":{scope},"graceful":true}}')
    assert not refused["ok"]
    assert "all: true" in refused["error"]


@pytest.mark.parametrize(
    "request_",
    [
        '{"cmd":"set_paused","name":"ghost","paused":true}',
        '{"cmd":"restart","name":"ghost"}',
        '{"cmd":"start","scope":{"agent_names":["ghost"]}}',
        '{"cmd":"stop","scope":{"agent_names":["ghost"]},"graceful":true}',
        '{"cmd":"kill","name":"ghost"}',
        '{"cmd":"rebuild","name":"ghost"}',
        '{"cmd":"destroy","name":"ghost"}',
        '{"cmd":"destroy","name":"ghost","purge":true}',
    ],
)
def test_an_unknown_agent_is_refused_in_the_words_of_the_description(empty: HiveProcess, request_: str) -> None:
    refused = say(empty, request_)
    assert (refused["version"], refused["ok"]) == (1, False)
    assert GHOST in refused["error"]


# approvals


@pytest.mark.container
def test_a_spawn_waits_for_its_approval_and_the_queue_keeps_what_was_decided(hive: HiveProcess) -> None:
    (number,) = say(hive, '{"cmd":"request_spawn","name":"gamma","description":"to count"}')["ids"]
    (asked,) = say(hive, '{"cmd":"pending"}')["approvals"]
    assert list(asked) == ["id", "agent", "kind", "commit_ref", "requested_at", "status", "description", "requester"]
    assert asked["requested_at"].endswith("Z")
    assert {key: value for key, value in asked.items() if key != "requested_at"} == {
        "id": number, "agent": "gamma", "kind": "spawn", "commit_ref": "", "status": "pending",
        "description": "to count", "requester": "operator",
    }  # fmt: skip
    assert say(hive, '{"cmd":"list"}')["agents"] == []
    with connected(hive) as client:
        client.write(f'{{"cmd":"approve","id":{number}}}\n'.encode())
        assert client.line() == SUCCESS
        assert row(hive, "gamma")["running"]
        again = client.ask(f'{{"cmd":"approve","id":{number}}}')
    assert not again["ok"]
    assert "approved already" in again["error"]
    (decided,) = say(hive, '{"cmd":"pending"}')["approvals"]
    assert decided["status"] == "approved"
    assert decided["resolved_at"].endswith("Z")


def test_a_denied_spawn_stays_in_the_queue_and_makes_nothing() -> None:
    with running_hive() as (hive, _):
        (number,) = say(hive, '{"cmd":"request_spawn","name":"gamma"}')["ids"]
        with connected(hive) as client:
            client.write(f'{{"cmd":"deny","id":{number}}}\n'.encode())
            assert client.line() == SUCCESS
        (decided,) = say(hive, '{"cmd":"pending"}')["approvals"]
        assert decided["status"] == "denied"
        assert "description" not in decided
        assert say(hive, '{"cmd":"list"}')["agents"] == []


@pytest.mark.parametrize("number", [9223372036854775807, -9223372036854775808, -1, 0])
@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_ids_at_the_ends_of_64_bits_are_read_and_unknown(empty: HiveProcess, verb: str, number: int) -> None:
    refused = say(empty, f'{{"cmd":"{verb}","id":{number}}}')
    assert (refused["ok"], refused["error_kind"]) == (False, "unknown_approval")
    assert str(number) in refused["error"]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**400, 1.5])
def test_ids_beyond_64_bits_are_refused(empty: HiveProcess, number: float) -> None:
    with connected(empty) as client:
        refused = client.ask(f'{{"cmd":"approve","id":{number}}}')
        assert (refused["ok"], refused["error_kind"]) == (False, "invalid_params")
        assert client.ask('{"cmd":"list"}')["ok"]


# the connection


def test_unknown_keys_are_ignored_at_every_level(empty: HiveProcess) -> None:
    strange = '"version":7,"quota":{"used_bytes":[1,{"a":null}]},"":"","é":"ü"'
    assert say(empty, f'{{{strange},"cmd":"list"}}')["ok"]
    scope = f'{{"agent_names":["ghost"],{strange},"matrix":false}}'
    assert GHOST in say(empty, f'{{"cmd":"start",{strange},"scope":{scope}}}')["error"]


def test_a_bare_success_is_these_bytes_and_nothing_more(empty: HiveProcess) -> None:
    with connected(empty) as client:
        client.write(b'{"cmd":"inbox_handled","ids":[]}\n')
        assert client.line() == SUCCESS


def test_many_requests_go_over_one_connection_also_all_at_once(empty: HiveProcess) -> None:
    with connected(empty) as client:
        client.write(b'{"cmd":"list"}\r\n\n{"cmd":"pending"}\n{"cmd":"urls"}\n{"cmd":"li')
        assert [list(client.read()) for _ in range(3)] == [
            ["version", "ok", "agents"], ["version", "ok", "approvals"], ["version", "ok", "urls"],
        ]  # fmt: skip
        client.write(b'st"}\n')
        assert "agents" in client.read()


def test_a_client_that_closes_its_half_after_the_request_is_answered(empty: HiveProcess) -> None:
    with connected(empty) as client:
        client.write(b'{"cmd":"list"}\n')
        client.done_writing()
        assert client.read()["ok"]
        assert client.line() == b""


def test_a_client_gone_in_the_middle_of_a_line_costs_nobody_anything(empty: HiveProcess) -> None:
    for _ in range(20):
        with connected(empty) as client:
            client.write(b'{"cmd":"destroy","name":"al')
        with connected(empty) as client:
            client.write(b'{"cmd":"list"}\n')
    assert say(empty, '{"cmd":"list"}')["ok"]


def test_a_line_over_the_limit_is_refused_without_being_kept_and_the_next_is_read(empty: HiveProcess) -> None:
    with connected(empty) as client:
        client.write(b'{"cmd":"list","x":"' + b"y" * (3 << 20) + b'"}\n{"cmd":"list"}\n')
        refused = client.read()
        assert (refused["version"], refused["ok"], refused["error_kind"]) == (1, False, "line_too_long")
        assert client.read()["ok"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"hello", "malformed"),
        (b"{", "malformed"),
        (b'{"cmd":"list"', "malformed"),
        (b"[]", "malformed"),
        (b"null", "malformed"),
        (b'"list"', "malformed"),
        (b"{}", "malformed"),
        (b'{"name":"a"}', "malformed"),
        (b'{"cmd":1}', "malformed"),
        (b'{"cmd":"list"}{"cmd":"list"}', "malformed"),
        (b"\xff\xfe\x00", "malformed"),
        (b'{"cmd":"restart","name":"\\ud800"}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"cmd":"list","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed"),
        (b'{"cmd":"dance"}', "unknown_method"),
        (b'{"cmd":"List"}', "unknown_method"),
        (b'{"cmd":""}', "unknown_method"),
        (b'{"cmd":"restart"}', "invalid_params"),
        (b'{"cmd":"restart","name":null}', "invalid_params"),
        (b'{"cmd":"restart","name":["alpha"]}', "invalid_params"),
        (b'{"cmd":"restart","name":"' + b"a" * 5000 + b'"}', "invalid_params"),
        (b'{"cmd":"set_paused","name":"alpha","paused":1}', "invalid_params"),
        (b'{"cmd":"set_paused","name":"alpha","paused":"true"}', "invalid_params"),
        (b'{"cmd":"start"}', "invalid_params"),
        (b'{"cmd":"start","scope":"alpha"}', "invalid_params"),
        (b'{"cmd":"start","scope":{"agent_names":"alpha"}}', "invalid_params"),
        (b'{"cmd":"stop","scope":{"agent_names":["alpha"]},"graceful":"no"}', "invalid_params"),
        (b'{"cmd":"approve","id":"1"}', "invalid_params"),
        (b'{"cmd":"approve"}', "invalid_params"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_line_is_a_typed_fault_and_the_next_request_works(empty: HiveProcess, line: bytes, kind: str) -> None:
    with connected(empty) as client:
        client.write(line + b"\n")
        refused = client.read()
        assert (refused["version"], refused["ok"], refused["error_kind"]) == (1, False, kind)
        assert 0 < len(refused["error"]) < 1000
        assert client.ask('{"cmd":"list"}')["ok"]
