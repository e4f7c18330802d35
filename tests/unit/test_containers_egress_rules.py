"""What the egress proxy decides without touching a network."""

import pytest

from hyperhive.containers.egress import Refusal
from hyperhive.containers.egress_process import Refusals
from hyperhive.containers.egress_rules import Allowed, is_public, parse_target, refusal
from hyperhive.protocol.faults import FaultError

LIST = (Allowed.parse("api.anthropic.com"), Allowed.parse("*.example.org"), Allowed.parse("Git.Example:8443"))


@pytest.mark.parametrize(
    ("host", "port"),
    [("api.anthropic.com", 443), ("files.example.org", 443), ("a.b.example.org", 443), ("git.example", 8443)],
)
def test_a_name_on_the_list_may_be_reached(host: str, port: int) -> None:
    assert refusal(host, port, LIST) == ""


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("api.anthropic.com", 80),
        ("xapi.anthropic.com", 443),
        ("api.anthropic.com.evil.example", 443),
        ("example.org", 443),
        ("evilexample.org", 443),
        ("git.example", 443),
    ],
)
def test_a_name_that_only_looks_like_one_on_the_list_is_refused(host: str, port: int) -> None:
    assert "list" in refusal(host, port, LIST)


@pytest.mark.parametrize("host", ["1.2.3.4", "::1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "fe80::1%lo"])
def test_an_address_is_refused_in_every_form_that_resolvers_take(host: str) -> None:
    assert "names" in refusal(host, 443, (Allowed(host=host, port=443),))


@pytest.mark.parametrize(
    "text", ["", "1.2.3.4", "*", "*.", "*.*.org", "a b", "host:0", "host:99999", "host:", "-a.org"]
)
def test_an_entry_that_is_no_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(FaultError, match="write a host name such as"):
        Allowed.parse(text)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1"),
        *("fec0::1", "168.63.129.16", "64:ff9b:1::1", "64:ff9b::a83f:8110"),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"),
    ],
)
def test_addresses_of_the_host_and_its_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "160.79.104.10", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":443", "host:0", "host:70000", "http://host:443", "a b:1", "u@h:1", "a..x:1", "-a:1"],
)
def test_a_target_that_is_not_host_and_port_is_no_target(text: str) -> None:
    assert parse_target(text) is None


def test_a_target_is_read_without_regard_to_case_or_a_final_dot() -> None:
    assert parse_target("API.Example.:443") == ("api.example", 443)
    assert parse_target("[::1]:443") == ("::1", 443)


def test_the_same_refusal_is_told_once_and_then_with_its_count() -> None:
    told: list[Refusal] = []
    now = [0.0]
    refusals = Refusals(told.append, lambda: now[0])
    for _ in range(5):
        refusals.add("a", "evil.example", 443, "no")
    now[0] = 60.0
    refusals.add("a", "evil.example", 443, "no")
    assert [refusal.count for refusal in told] == [1, 5]


def test_an_agent_that_asks_for_many_names_is_not_told_without_end() -> None:
    told: list[Refusal] = []
    refusals = Refusals(told.append, lambda: 0.0)
    for number in range(5000):
        refusals.add("a", f"{number}.example", 443, "no")
    refusals.add("b", "other.example", 443, "no")
    assert len(told) == 21
    assert told[-1].agent == "b"
