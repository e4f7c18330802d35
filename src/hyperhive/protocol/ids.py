"""Names of agents and of those they write to."""

import re
from collections.abc import Iterable
from typing import Annotated, Final, NewType

import msgspec

from hyperhive.protocol.faults import FaultError, FaultKind

AgentName = NewType("AgentName", str)
MessageId = NewType("MessageId", int)
TurnId = NewType("TurnId", str)

OPERATOR: Final = "operator"
SYSTEM: Final = "system"
MANAGER: Final = AgentName("manager")
EVERYONE: Final = "*"

MANAGER_CONTAINER: Final = "hm1nd"
RESERVED: Final = frozenset({OPERATOR, SYSTEM, MANAGER, MANAGER_CONTAINER, "external", "reminder", "hive"})
MAX_NAME: Final = 31

NAME_PATTERN: Final = r"[a-z]([a-z0-9-]{0,29}[a-z0-9])?"
_NAME = re.compile(NAME_PATTERN)

AnyName = Annotated[str, msgspec.Meta(max_length=128)]
"""A name as it arrives on a wire: bounded, not yet checked. `agent_name` checks it."""


def agent_name(text: str) -> AgentName:
    """The text as a name that a new agent may have; raises FaultError (`bad_name`, `reserved_name`)."""
    name = known_form(text)
    if name in RESERVED:
        raise FaultError(FaultKind.RESERVED_NAME, f"cannot name an agent {name!r}: the hive uses that name itself")
    return name


def known_form(text: str) -> AgentName:
    """The text as the name of an agent that may exist, the manager's included; raises FaultError (`bad_name`)."""
    if not _NAME.fullmatch(text):
        raise FaultError(
            FaultKind.BAD_NAME,
            f"cannot use {text[:64]!r} as an agent's name: it takes 1 to {MAX_NAME} characters, a-z, 0-9 and '-', "
            "begins with a letter and does not end with '-'",
        )
    return AgentName(text)


def container_name(name: AgentName) -> str:
    """What the agent's container is called on the host."""
    return MANAGER_CONTAINER if name == MANAGER else f"h-{name}"


def closest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known names, or all there are when nothing is near: text for an error."""
    import difflib  # only here: few names are mistyped

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"there are: {', '.join(names[:20])}" if names else "there are no agents yet; hive spawn NAME makes one"
