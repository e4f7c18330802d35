"""Which links of a login may be followed."""

import pytest

from hyperhive.protocol.login_links import trusted_login_url


@pytest.mark.parametrize(
    "url",
    [
        "https://claude.ai/oauth/authorize?z-qwosbr__w5i_jP9F",
        "https://claude.com/cai/oauth/authorize?code=true&client_id=9d1c&scope=user%3Ainference",
        "https://platform.claude.com/oauth?x=1#y",
        "https://console.anthropic.com:443/",
        "https://claude.ai",
    ],
)
def test_links_to_claudes_makers_are_trusted(url: str) -> None:
    assert trusted_login_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://claude.ai/",
        "https://claude.ai.example.com/",
        "https://notclaude.ai/",
        "https://example.com/claude.ai",
        "https://claude.ai@example.com/",
        "https://example.com\\@claude.ai/",
        "https://example.com\\.claude.ai/",
        "https://claude.ai:8443/",
        "https://claude.ai:443@example.com/",
        "https://.claude.ai/",
        "https://claude.ai./",
        "https://cl\u0430ude.ai/",
        "https://claude.ai/ x",
        "https://claude.ai/\n",
        'https://claude.ai/"onclick=',
        "https://claude.ai/\u202e",
        "javascript:alert(1)//https://claude.ai/",
        " https://claude.ai/",
        "https://claude.ai/" + "x" * 5000,
        "",
    ],
)
def test_all_others_are_not(url: str) -> None:
    assert not trusted_login_url(url)
