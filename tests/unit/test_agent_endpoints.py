"""The table of what an agent may ask is whole, and agrees with what agents are told of their tool groups."""

from hyperhive.api.agent import ENDPOINTS
from hyperhive.protocol.agent import GROUP_METHODS, HELLO, HIVE_METHODS


def test_every_method_of_the_agent_socket_is_answered_once() -> None:
    assert sorted(endpoint.method.name for endpoint in ENDPOINTS) == sorted(
        method.name for method in HIVE_METHODS if method is not HELLO
    )


def test_the_methods_of_a_tool_group_are_refused_to_whoever_has_it_not_and_no_others() -> None:
    refused = {endpoint.method.name: endpoint.group for endpoint in ENDPOINTS if endpoint.group}
    assert refused == {method.name: group for group, methods in GROUP_METHODS.items() for method in methods}
