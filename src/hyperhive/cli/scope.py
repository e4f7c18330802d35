"""Whom a command means that takes names or --all."""

import typer

from hyperhive.protocol.host import LifecycleScope


def scope_of(names: list[str] | None, *, everyone: bool) -> LifecycleScope:
    """Raises a usage error unless exactly one of the two is given: nothing is ever meant by saying nothing."""
    if bool(names) == everyone:
        raise typer.BadParameter("name the agents, or say --all for every agent")
    return LifecycleScope(all=True) if everyone else LifecycleScope(agent_names=list(names or []))


def spoken(names: list[str] | None) -> str:
    return ", ".join(names) if names else "every agent"
