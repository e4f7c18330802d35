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


def budget_warning(name: str, spent: str) -> str:
    """What an agent and the operator are told once in a day or month; without a name it is about the whole hive."""
    whose = f"Agent {name}" if name else "The hive as a whole"
    return (
        f"{whose} has spent {spent}. When all of it is spent turns are ended and messages wait, until the next day or "
        "month or until the operator adds to it."
    )


UPDATED = "rebuilt with a new config, which the operator has approved"
REBUILT = "rebuilt and started again"
STARTED = "started"
RESTARTED = "restarted"
"""Reasons of a kick."""
