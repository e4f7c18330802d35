"""Messages that the hive itself writes to agents and the operator."""


def kick(reason: str) -> str:
    """What an agent is told after its container was started again."""
    return (
        f"Your container was {reason}. Your conversation is intact. Look at /state/notes.md for what you were doing, "
        "and go on if something was left unfinished; if nothing was, end the turn."
    )


def gave_up(name: str, last: str) -> str:
    """What the operator is told when an agent is not started again."""
    return (
        f"Agent {name} died again and again and is not being started any more. Last: {last}.\n"
        f"See `hive logs {name}` for what it wrote, then `hive start {name}` to try again."
    )


UPDATED = "rebuilt with a new config, which the operator has approved"
REBUILT = "rebuilt and started again"
STARTED = "started"
RESTARTED = "restarted"
"""Reasons of a kick."""
