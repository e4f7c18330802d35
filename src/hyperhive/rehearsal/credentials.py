"""Real credentials in an environment: a hive plays the rehearsal model or has those, never both."""

from collections.abc import Mapping
from typing import Final

DUMMY_KEY: Final = "rehearsal"
"""The API key of agents that talk to the rehearsal model."""

_SECRETS: Final = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_AWS_API_KEY",
    "ANTHROPIC_FOUNDRY_API_KEY",
    "ANTHROPIC_FOUNDRY_AUTH_TOKEN",
    "ANTHROPIC_IDENTITY_TOKEN",
    "ANTHROPIC_IDENTITY_TOKEN_FILE",
    "AWS_BEARER_TOKEN_BEDROCK",
    "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "CLAUDE_CODE_OAUTH_REFRESH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
)
_PROVIDER_SWITCHES: Final = (
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_GATEWAY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_VERTEX",
)
_OFF: Final = frozenset({"", "0", "false", "no", "off"})


def real_credentials(environ: Mapping[str, str]) -> list[str]:
    """The names of the variables that would reach a real model; never their values."""
    secrets = [name for name in _SECRETS if environ.get(name, "") not in ("", DUMMY_KEY)]
    switches = [name for name in _PROVIDER_SWITCHES if environ.get(name, "").lower() not in _OFF]
    return secrets + switches


def refusal(names: list[str]) -> str:
    """What to tell the operator about real credentials beside the rehearsal model."""
    return (
        f"cannot play the rehearsal model: the environment has {', '.join(names)}; "
        "a hive uses the rehearsal model or real credentials, never both: unset them, or serve without the rehearsal"
    )
