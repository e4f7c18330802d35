"""Which links of a login may be shown as links: what a container says of itself is not followed."""

import re
from typing import Final

_TRUSTED: Final = re.compile(
    r"https://(?:[a-z0-9-]{1,63}\.){0,4}(?:claude\.ai|claude\.com|anthropic\.com)(?::443)?(?:[/?#][!#-;=?-\[\]^_a-z{|}~]*)?"
)
MAX_LINK: Final = 4096


def trusted_login_url(url: str) -> bool:
    """Whether the link leads to claude's makers and nowhere else, as every browser reads it."""
    return len(url) <= MAX_LINK and _TRUSTED.fullmatch(url) is not None
