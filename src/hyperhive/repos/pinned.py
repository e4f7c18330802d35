"""A commit with all that it needs, as it comes out of the confined reader: hostile until `decode` has checked it."""

import re
from dataclasses import dataclass
from typing import Final

from hyperhive.protocol.faults import FaultError
from hyperhive.repos.contents import Contents, Fetch, collect
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.names import has_unseen
from hyperhive.repos.objects import bad_commit, identity

REFUSED: Final = b"refused "
_TAKEN: Final = re.compile(rb"commit ([0-9a-f]{40})\n")
_FRAME: Final = re.compile(rb"(commit|tree|blob) ([0-9]{1,9})\n")
_DEFAULT: Final = RepoLimits()
_REFUSAL_CHARACTERS: Final = 600


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """Verified: exactly the objects of one commit, and nothing in them that the hive does not take."""

    sha: str
    objects: tuple[tuple[str, bytes], ...]  #: (kind, data), the commit first
    files: int
    message: str


def encode(sha: str, contents: Contents) -> bytes:
    frames = (b"%s %d\n%s" % (kind.encode(), len(data), data) for kind, data in contents.objects.values())
    return b"commit %s\n" % sha.encode() + b"".join(frames)


def encode_refusal(text: str) -> bytes:
    return REFUSED + text.encode(errors="replace").replace(b"\n", b" ") + b"\n"


def decode(output: bytes, limits: RepoLimits = _DEFAULT) -> Pinned:
    """What the reader wrote, believed in nothing: every id is computed again, every rule tried again.

    Raises FaultError (`bad_commit`): the reader's refusal, or what is wrong with what it wrote.
    """
    if len(output) > limits.output_bytes:
        raise _forged("it is too long")
    if output.startswith(REFUSED):
        raise bad_commit(_refusal(output))
    head = _TAKEN.match(output)
    if not head:
        raise _forged("it does not begin with a commit")
    sha, objects = head[1].decode(), _objects(output, head.end(), limits.objects)
    contents = collect(sha, _fetch_from(objects), limits)
    if len(contents.objects) != len(objects):
        raise _forged("it has objects that the commit does not need")
    return Pinned(
        sha=sha,
        objects=tuple(contents.objects.values()),
        files=len(contents.files),
        message=contents.commit.message,
    )


def _objects(output: bytes, position: int, most: int) -> dict[tuple[str, str], bytes]:
    found: dict[tuple[str, str], bytes] = {}
    while position < len(output):
        frame = _FRAME.match(output, position)
        if not frame or frame.end() + int(frame[2]) > len(output):
            raise _forged("an object in it is cut off")
        position = frame.end() + int(frame[2])
        kind, data = frame[1].decode(), output[frame.end() : position]
        key = (kind, identity(kind, data))
        if key in found:
            raise _forged("it has an object twice")
        if len(found) == most:
            raise _forged("it has more objects than a commit may need")
        found[key] = data
    return found


def _fetch_from(objects: dict[tuple[str, str], bytes]) -> Fetch:
    def fetch(kind: str, sha: str, what: str, _most: int) -> bytes:
        if (kind, sha) not in objects:
            raise _forged(f"{what}, {kind} {sha}, is missing or is not what its id says")
        return objects[kind, sha]

    return fetch


def _refusal(output: bytes) -> str:
    line = output[len(REFUSED) :].split(b"\n", 1)[0].decode(errors="replace")[:_REFUSAL_CHARACTERS]
    return "".join("�" if has_unseen(character) else character for character in line)


def _forged(why: str) -> FaultError:
    return bad_commit(f"cannot use what was read of the repository: {why}; make the commit again and propose that")
