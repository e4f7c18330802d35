"""Whom an agent may write to, by its deployed config."""

from hyperhive.hub.agents import Agent
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import EVERYONE, MANAGER, SYSTEM


def check_allowed(agent: Agent, to: str) -> frozenset[str] | None:
    """Whom a broadcast of the agent's reaches, None for everyone. The manager can always be written to.

    Raises FaultError (`not_allowed`) when the agent may not write to `to` at all.
    """
    allowed = agent.settings.allowed_recipients
    if to == SYSTEM:
        raise FaultError(FaultKind.NOT_ALLOWED, "cannot write to 'system': the hive reads no mail")
    if not allowed or agent.name == MANAGER:
        return None
    if to not in (EVERYONE, MANAGER) and to not in allowed:
        raise FaultError(
            FaultKind.NOT_ALLOWED,
            f"cannot write to {to!r}: this agent's allowed_recipients are {', '.join(sorted(allowed))}",
        )
    return frozenset((*allowed, MANAGER))
