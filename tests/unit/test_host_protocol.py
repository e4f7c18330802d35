"""host.sock, byte for byte as existing clients speak it."""

import msgspec
import pytest

from hyperhive.protocol import host

decode = msgspec.json.Decoder(host.AnyRequest).decode
encode = msgspec.json.encode

PINNED = [
    (b'{"cmd":"list"}', host.List()),
    (b'{"cmd":"agent_status"}', host.AgentStatus()),
    (b'{"cmd":"subscribe_agent_status"}', host.SubscribeAgentStatus()),
    (b'{"cmd":"urls"}', host.Urls()),
    (b'{"cmd":"set_paused","name":"a","paused":true}', host.SetPaused(name="a", paused=True)),
    (b'{"cmd":"restart","name":"a"}', host.Restart(name="a")),
    (b'{"cmd":"start","scope":{"agent_names":["a"]}}', host.Start(scope=host.LifecycleScope(agent_names=["a"]))),
    (
        b'{"cmd":"stop","scope":{"agent_names":["a"]},"graceful":true}',
        host.Stop(scope=host.LifecycleScope(agent_names=["a"]), graceful=True),
    ),
    (b'{"cmd":"pending"}', host.Pending()),
    (b'{"cmd":"approve","id":42}', host.Approve(id=42)),
    (b'{"cmd":"approve","id":9223372036854775807}', host.Approve(id=2**63 - 1)),
    (b'{"cmd":"deny","id":-1}', host.Deny(id=-1)),
]


@pytest.mark.parametrize(("line", "request_"), PINNED)
def test_a_pinned_request_is_read(line: bytes, request_: host.AnyRequest) -> None:
    assert decode(line) == request_


@pytest.mark.parametrize(("line", "request_"), PINNED)
def test_a_request_survives_the_round_trip(line: bytes, request_: host.AnyRequest) -> None:
    assert decode(encode(request_)) == request_


def test_unknown_keys_are_ignored_at_every_level() -> None:
    assert decode(b'{"cmd":"start","new":1,"scope":{"agents":true,"moon":true}}') == host.Start(
        scope=host.LifecycleScope(agents=True)
    )


@pytest.mark.parametrize(
    "line", [b'{"cmd":"approve","id":9223372036854775808}', b'{"cmd":"approve","id":"1"}', b'{"cmd":"nope"}']
)
def test_a_request_outside_the_protocol_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(line)


def test_a_bare_success_is_exactly_two_keys() -> None:
    assert encode(host.Response()) == b'{"version":1,"ok":true}'


def test_a_refusal_carries_its_text() -> None:
    assert encode(host.Response(ok=False, error="no")) == b'{"version":1,"ok":false,"error":"no"}'


def test_a_status_row_always_has_its_seven_keys_in_the_wire_order() -> None:
    row = host.AgentStatusRow(name="a", running=True, failed=False, needs_update=False, needs_login=False)
    keys = list(msgspec.json.decode(encode(row)))
    assert keys == ["name", "running", "failed", "needs_update", "needs_login", "pending_reminders", "paused"]
