"""A hive plays the rehearsal model or has real credentials, never both."""

import pytest

from hyperhive.rehearsal.credentials import real_credentials, refusal


@pytest.mark.parametrize(
    "name",
    [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
    ],
)
def test_a_credential_is_named_and_its_value_is_not(name: str) -> None:
    names = real_credentials({name: "1-secret", "PATH": "/bin"})
    assert names == [name]
    assert "secret" not in refusal(names)
    assert name in refusal(names)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"ANTHROPIC_API_KEY": "rehearsal"},
        {"ANTHROPIC_API_KEY": ""},
        {"CLAUDE_CODE_USE_VERTEX": "0"},
        {"HOME": "/"},
    ],
)
def test_nothing_else_is_a_credential(environ: dict[str, str]) -> None:
    assert real_credentials(environ) == []
