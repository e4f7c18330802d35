"""The hive's own credential for claude: `credential.json` in the state directory. No container sees it."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from hyperhive.config import private_file
from hyperhive.protocol.faults import FaultError, FaultKind

MAX_VALUE: Final = 16 * 1024
"""Characters of one variable."""

API_KEY: Final = "api key"
TOKEN: Final = "token"
ENVIRONMENT: Final = "environment"

SECRET_NAMES: Final = frozenset({
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "CLAUDE_CODE_OAUTH_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK", "AWS_SECRET_ACCESS_KEY", "ANTHROPIC_FOUNDRY_API_KEY",
})  # fmt: skip
"""Variables that let claude in somewhere."""
_PLACE_NAMES: Final = frozenset({
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_SKIP_BEDROCK_AUTH", "ANTHROPIC_BEDROCK_BASE_URL",
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN",
    "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_SKIP_VERTEX_AUTH", "ANTHROPIC_VERTEX_BASE_URL",
    "ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION",
    "CLAUDE_CODE_USE_FOUNDRY", "ANTHROPIC_FOUNDRY_RESOURCE", "ANTHROPIC_FOUNDRY_BASE_URL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL",
})  # fmt: skip
"""Variables that say where that is, and what its models are called there."""
NAMES: Final = SECRET_NAMES | _PLACE_NAMES

_MAX_FILE: Final = 64 * 1024

_KEY = re.compile(r"sk-ant-[!-~]{16,500}")
_TOKEN = re.compile(r"sk-ant-oat[!-~]{16,500}")
_LINE = re.compile(r"(?:export\s+)?([A-Z][A-Z0-9_]{0,63})\s*=\s*(.*)")
_VALUE = re.compile(r"[ -~]+")


class HiveCredential(Struct, frozen=True, kw_only=True):
    kind: str  #: API_KEY, TOKEN or ENVIRONMENT
    env: dict[str, str]
    salt: str  #: of this hive's fingerprints
    mark: str  #: another one each time that it is set
    set_at: float  #: Unix seconds

    def __repr__(self) -> str:
        return f"HiveCredential(kind={self.kind!r}, fingerprint={self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """The same for the same credential in this hive; nothing can be told from it without the salt."""
        text = msgspec.json.encode(sorted(self.env.items()))
        return hashlib.blake2b(text, key=self.salt.encode(), digest_size=4).hexdigest()


def credential(kind: str, env: Mapping[str, str], *, before: HiveCredential | None, now: float) -> HiveCredential:
    """To be stored in the place of the one before."""
    salt = before.salt if before is not None else secrets.token_hex(16)
    return HiveCredential(kind=kind, env={**env}, salt=salt, mark=secrets.token_hex(8), set_at=now)


def of_secret(text: str) -> tuple[str, dict[str, str]]:
    """Kind and variables of an API key or a token of `claude setup-token`. Raises FaultError, without any of it."""
    secret = text.strip()
    if _TOKEN.fullmatch(secret):
        return TOKEN, {"CLAUDE_CODE_OAUTH_TOKEN": secret}
    if _KEY.fullmatch(secret):
        return API_KEY, {"ANTHROPIC_API_KEY": secret}
    raise _bad(
        "an API key begins with sk-ant- and a token of `claude setup-token` with sk-ant-oat, in one word; anything "
        "else is set with --env-file, as NAME=VALUE"
    )


def of_env_file(text: str) -> dict[str, str]:
    """The variables of its lines `NAME=VALUE`. Raises FaultError, which shows no value."""
    env: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        written = line.strip()
        if written and not written.startswith("#"):
            name, value = _variable(number, written)
            if name in env:
                raise _bad(f"line {number} gives {name} once more")
            env[name] = value
    if not SECRET_NAMES & {*env}:
        raise _bad(f"the file lets nobody in: it has none of {', '.join(sorted(SECRET_NAMES))}")
    return env


def of_file(path: Path) -> tuple[str, dict[str, str]]:
    """Kind and variables of a file with either of them. Raises FaultError, without any of it."""
    try:
        with path.open(encoding="utf-8") as opened:
            text = opened.read(_MAX_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"{path}: {getattr(error, 'strerror', None) or 'it is not text'}") from None
    if len(text) > _MAX_FILE:
        raise _bad(f"{path} is larger than {_MAX_FILE} characters")
    return (ENVIRONMENT, of_env_file(text)) if "=" in text and not _KEY.fullmatch(text.strip()) else of_secret(text)


def _variable(number: int, line: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise _bad(f"line {number} is not NAME=VALUE, with a name in capital letters")
    name, value = found[1], _unquoted(found[2])
    if name not in NAMES:
        raise _bad(f"line {number} has {name}, which is no variable of claude's for this; there are "
                   f"{', '.join(sorted(NAMES))}")  # fmt: skip
    if not _VALUE.fullmatch(value) or len(value) > MAX_VALUE:
        raise _bad(f"the value of {name} in line {number} is not 1 to {MAX_VALUE} printable characters")
    return name, value


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def read(path: Path) -> HiveCredential | None:
    """None without a file. Raises FaultError (`bad_config`), which does not say what the file holds."""
    remedy = "`hive auth set` writes it anew, `hive auth unset` removes it"
    return private_file.read(path, HiveCredential, writer="hive auth set", remedy=remedy)


def _bad(why: str) -> FaultError:
    return FaultError(FaultKind.INVALID_PARAMS, f"cannot use this credential: {why}")
