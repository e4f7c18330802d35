"""The file in which nixos-container keeps what its unit reads, `/etc/nixos-containers/NAME.conf`: text into text.

The unit takes it as an EnvironmentFile and expands EXTRA_NSPAWN_FLAGS without quotes: what it holds is split at white
space and globbed. `.nspawn` files have no part in this; the tool's script does not use them.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.containers.spec import Mount
from hyperhive.protocol.faults import FaultError, FaultKind

FLAGS: Final = "EXTRA_NSPAWN_FLAGS"
FIRST_WITH_PRIVATE_USERS: Final = (25, 5)
"""The NixOS release whose unit reads PRIVATE_USERS; before it root in a container is root of the host."""

_EMPTIED: Final = ("HOST_ADDRESS", "LOCAL_ADDRESS", "HOST_ADDRESS6", "LOCAL_ADDRESS6", "HOST_BRIDGE", "HOST_PORT")
"""Any of the addresses makes the unit add a network of its own, with PRIVATE_NETWORK=0 too."""
_EMPTIED_IF_THERE: Final = ("LOCAL_MAC_ADDRESS", "NETWORK_NAMESPACE_PATH", "INTERFACES", "MACVLANS")
_REFUSED: Final = re.compile(r"[\s\"'*?\[\]\\$:]")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the hive wants the file to say."""

    mounts: Sequence[Mount]
    private_network: bool  #: no interface but loopback; False: the host's network, as it is
    private_users: bool  #: the host's unit reads PRIVATE_USERS
    flags: Sequence[str] = ()  #: further flags of systemd-nspawn


def patched(text: str, wanted: Wanted) -> str:
    """The file's text with the hive's keys as wanted and everything else as it was; patching again changes nothing.

    Raises FaultError (`backend`) for a path that the unit would take apart.
    """
    values = _values(wanted)
    entries = [*_entries(text)]
    last = {entry.key: number for number, entry in enumerate(entries)}  # the last assignment is the one that holds
    kept: list[str] = []
    for number, entry in enumerate(entries):
        if entry.key not in values:
            kept.append(_emptied(entry))
        elif last[entry.key] == number:
            kept.append(_line(entry.key, values[entry.key]))
    added = "".join(_line(key, value) for key, value in values.items() if key not in last)
    return _joined("".join(kept), added)


def nspawn_flags(wanted: Wanted) -> str:
    """The words of EXTRA_NSPAWN_FLAGS. Raises FaultError (`backend`) for a path that cannot be one of them."""
    own = ("--private-network",) if wanted.private_network else ()
    return " ".join((*own, *(_bind(mount, wanted) for mount in wanted.mounts), *wanted.flags))


def has_private_users(os_release: str) -> bool:
    """Whether a host with this /etc/os-release is a NixOS whose unit reads PRIVATE_USERS."""
    fields = {key: value for key, _, value in (line.partition("=") for line in os_release.splitlines())}
    found = re.match(r"(\d+)\.(\d+)", fields.get("VERSION_ID", "").strip("\"'"))
    if fields.get("ID", "").strip("\"'") != "nixos" or found is None:
        return False
    return (int(found[1]), int(found[2])) >= FIRST_WITH_PRIVATE_USERS


def write(path: Path, text: str) -> None:
    """In one step, so that a unit which starts meanwhile reads the old file or the new one, never a part."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w") as file:  # noqa: PTH123 (a descriptor)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(text: str) -> Mapping[str, str]:
    """The assignments as systemd takes them: the last one of a key holds."""
    return {entry.key: entry.value for entry in _entries(text) if entry.key}


def _values(wanted: Wanted) -> dict[str, str]:
    users = {"PRIVATE_USERS": "pick"} if wanted.private_users else {}
    return {
        "PRIVATE_NETWORK": "1" if wanted.private_network else "0",
        **dict.fromkeys(_EMPTIED, ""),
        **users,
        "COPY_RESOLV_CONF": "1",
        FLAGS: nspawn_flags(wanted),
    }


def _bind(mount: Mount, wanted: Wanted) -> str:
    for path in (str(mount.source), str(mount.target)):
        if _REFUSED.search(path) or not path.isprintable():
            raise FaultError(
                FaultKind.BACKEND,
                f"cannot bind {path!r} into a container: NixOS would take it apart at white space, quotes, globs, "
                "backslash, '$' or ':'; choose a directory without them (HYPERHIVE_STATE_DIR, HYPERHIVE_RUNTIME_DIR)",
            )
    option = "--bind" if mount.writable else "--bind-ro"
    return f"{option}={mount.source}:{mount.target}" + (":idmap" if wanted.private_users else "")


def _line(key: str, value: str) -> str:
    return f'{key}="{value}"\n' if " " in value else f"{key}={value}\n"


def _joined(text: str, added: str) -> str:
    """In front of a text that ends within a value, which would swallow what comes after it."""
    whole = text if text.endswith("\n") or not text else f"{text}\n"
    *_, last = _entries(f"{whole}END=1\n")
    return whole + added if last.key == "END" else added + text


# reading as systemd does


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """An assignment with the white space before it, or a comment, or what systemd ignores; newline included."""

    text: str
    key: str = ""
    value: str = ""


def _emptied(entry: _Entry) -> str:
    return _line(entry.key, "") if entry.key in _EMPTIED_IF_THERE and entry.value else entry.text


def _entries(text: str) -> Iterator[_Entry]:
    position = 0
    while position < len(text):
        end, key, value = _entry(text, position)
        yield _Entry(text=text[position:end], key=key, value=value)
        position = end


def _entry(text: str, start: int) -> tuple[int, str, str]:
    """Where the entry that begins there ends; its key and value, when it is an assignment.

    A backslash joins lines, in comments too; a value may have quoted parts, which may go over lines.
    """
    line_end = _end_of_line(text, start)
    beginning = text[start:line_end]
    if not beginning.strip() or beginning.lstrip()[0] in "#;":
        return _joined_end(text, start), "", ""
    key, equals, _ = beginning.partition("=")
    if not equals:
        return line_end, "", ""
    value, end = _value(text, start + len(key) + 1)
    return end, key.strip(), value


def _value(text: str, position: int) -> tuple[str, int]:
    found: list[str] = []
    quote, has_begun = "", False
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\" and quote != "'" and position < len(text):
            found += [] if text[position] == "\n" else [text[position]]
            position, has_begun = position + 1, has_begun or not quote
        elif quote:
            quote, has_begun = ("", False) if character == quote else (quote, has_begun)
            found += [character] if quote else []
        elif character == "\n":
            break
        elif character in "\"'" and not has_begun:  # quotes inside a bare word are part of it
            quote = character
        elif has_begun or not character.isspace():
            has_begun = True
            found.append(character)
    return "".join(found).rstrip(" \t") if has_begun else "".join(found), position


def _end_of_line(text: str, start: int) -> int:
    found = text.find("\n", start)
    return len(text) if found < 0 else found + 1


def _joined_end(text: str, start: int) -> int:
    end = _end_of_line(text, start)
    while re.search(r"(?<!\\)(?:\\\\)*\\\n\Z", text[start:end]) and end < len(text):
        end = _end_of_line(text, end)
    return end
