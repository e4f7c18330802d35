"""What can go wrong across a wire: a kind to branch on and a sentence to read."""

from enum import StrEnum


class FaultKind(StrEnum):
    """Each kind is something the caller can act on in its own way."""

    MALFORMED = "malformed"  #: not a message at all; send well-formed JSON
    LINE_TOO_LONG = "line_too_long"  #: over the size of a line; send less
    UNKNOWN_METHOD = "unknown_method"  #: this daemon does not know the verb
    INVALID_PARAMS = "invalid_params"  #: the verb is known, its fields are not right
    BAD_NAME = "bad_name"
    RESERVED_NAME = "reserved_name"
    NAME_TAKEN = "name_taken"
    UNKNOWN_AGENT = "unknown_agent"
    UNKNOWN_RECIPIENT = "unknown_recipient"
    UNKNOWN_MESSAGE = "unknown_message"
    UNKNOWN_APPROVAL = "unknown_approval"
    UNKNOWN_JOB = "unknown_job"
    UNKNOWN_QUESTION = "unknown_question"
    UNKNOWN_REMINDER = "unknown_reminder"
    UNKNOWN_SCHEDULE = "unknown_schedule"
    UNKNOWN_SESSION = "unknown_session"
    UNKNOWN_TOKEN = "unknown_token"
    UNKNOWN_TARGET = "unknown_target"
    NOT_ALLOWED = "not_allowed"  #: the caller may never do this
    WRONG_STATE = "wrong_state"  #: possible, but not in the state that the object is in now
    BODY_TOO_LONG = "body_too_long"
    INBOX_FULL = "inbox_full"  #: the recipient has too much unread; wait, or ask it to catch up
    TOO_FAST = "too_fast"  #: the sender's rate; wait as long as the text says
    STALE_EPOCH = "stale_epoch"  #: a newer harness of this agent has taken over
    BAD_CONFIG = "bad_config"  #: agent.toml or the hive's own settings; the text lists every fault
    BAD_COMMIT = "bad_commit"  #: a config repository or a commit in it that the hive does not take; the text says why
    SHA_MISMATCH = "sha_mismatch"  #: what is decided on is not what was shown; look at it again
    STORAGE = "storage"  #: the disk or the database refused; nothing was stored
    UNAVAILABLE = "unavailable"  #: the other side is gone or shutting down; try again
    BACKEND = "backend"  #: the container could not be made, started or stopped
    INTERNAL = "internal"  #: a mistake of ours; the log has it


class FaultError(Exception):
    """Raised for every refusal that reaches a caller over a wire; carries what the wire carries."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
