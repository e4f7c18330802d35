"""What the operator can be told outside of the dashboard."""

from enum import StrEnum
from typing import Final


class NotifyKind(StrEnum):
    """Each with the words that a notification of it begins with."""

    words: str
    by_default: bool  #: whether a target gets it that does not say what it is for

    def __new__(cls, value: str, words: str = "", by_default: bool = True) -> "NotifyKind":
        kind = str.__new__(cls, value)
        kind._value_, kind.words, kind.by_default = value, words, by_default
        return kind

    APPROVAL = "approval", "An approval waits"
    QUESTION = "question", "A question waits"
    OPERATOR_MAIL = "operator_mail", "Mail to you", False
    NEEDS_LOGIN = "needs_login", "An agent needs a login"
    LOGGED_IN = "logged_in", "An agent is logged in"
    RATE_LIMITED = "rate_limited", "A usage limit holds an agent"
    BUDGET = "budget", "A budget runs out"
    STUCK = "stuck", "An agent is stuck"
    DISK = "disk", "The hive's disk is short"
    DEAD_LETTER = "dead_letter", "A message was given up"
    AGENT_FAILED = "agent_failed", "An agent failed"
    DEPLOY_FAILED = "deploy_failed", "A deployment failed"


BY_DEFAULT: Final = tuple(kind for kind in NotifyKind if kind.by_default)
