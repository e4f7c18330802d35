"""Which names a config repository may have in it, on every file system that it may come to lie on."""

import re
import unicodedata
from typing import Final

from hyperhive.repos.objects import bad_commit

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that show nothing, or change how what follows is shown."""
_SHORT_GIT = re.compile(r"(git|gitmod|gi7eba|gi7d29)~[0-9]+")
"""What NTFS makes of .git, .gitmodules and .gitattributes."""


def check_name(raw: bytes, where: str) -> str:
    """The name of an entry of the directory `where`; raises FaultError (`bad_commit`) that says what to rename."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise bad_commit(f"the name {raw[:80]!r} in {where} is not UTF-8; rename it") from None
    if problem := _problem(name):
        raise bad_commit(f"the name {shown(name)} in {where} {problem}; rename or remove it")
    return name


def folded(name: str) -> str:
    """Names that are one on a file system without case are equal in this form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def shown(text: str) -> str:
    """For an error: bounded, and every character that could play tricks spelled out."""
    return ascii(text[:80])


def has_unseen(text: str) -> bool:
    return any(unicodedata.category(character) in _UNSEEN for character in text)


def _problem(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\\" in name or len(name.encode()) > 255:
        return "is not a plain name of at most 255 bytes"
    if _is_git(_bare(name)):
        return "is one that git keeps for itself, or looks like it"
    if has_unseen(name):
        return "has control or invisible characters in it"
    if unicodedata.normalize("NFC", name) != name:
        return "is not in Unicode's composed form (NFC)"
    if _bare(name) == ".gitmodules":
        return "is for submodules, which the hive does not take"
    return ""


def _bare(name: str) -> str:
    """Without what HFS+ and NTFS would leave out of it."""
    seen = "".join(character for character in name if unicodedata.category(character) not in _UNSEEN)
    return folded(seen).partition(":")[0].rstrip(". ")


def _is_git(bare: str) -> bool:
    return bare == ".git" or bool(_SHORT_GIT.fullmatch(bare))
