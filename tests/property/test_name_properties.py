"""A name is safe in a path, a container's name and an argument list, or it is refused."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import RESERVED, agent_name, closest

ALPHABET = string.ascii_lowercase + string.digits + "-"


@given(st.text(max_size=80))
def test_an_accepted_name_is_harmless(text: str) -> None:
    try:
        name = agent_name(text)
    except FaultError:
        return
    assert name == text
    assert set(name) <= set(ALPHABET)
    assert name[0] in string.ascii_lowercase
    assert name[-1] != "-"
    assert len(name) <= 31
    assert name not in RESERVED


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,29}[a-z0-9])?", fullmatch=True).filter(lambda n: n not in RESERVED))
def test_every_well_formed_name_is_accepted(text: str) -> None:
    assert agent_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "..", ".", "a/b", "A", "1a", "a-", "-a", "a" * 32, "a" * 64, "a\n", "ä", "a b", "a\0"]
)
def test_a_malformed_name_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(FaultError, match="1 to 31 characters") as refused:
        agent_name(text)
    assert refused.value.kind is FaultKind.BAD_NAME


@pytest.mark.parametrize("text", ["operator", "system", "manager", "hm1nd"])
def test_the_hives_own_names_are_reserved(text: str) -> None:
    with pytest.raises(FaultError) as refused:
        agent_name(text)
    assert refused.value.kind is FaultKind.RESERVED_NAME


def test_a_mistyped_name_is_answered_with_the_nearest() -> None:
    assert closest("bilder", ["builder", "scout"]) == "did you mean 'builder'?"
