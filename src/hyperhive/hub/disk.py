"""Whose doing it is that the hive's disk is short, and when to look again. Pure: what was measured, what follows.

What an agent says counts for nothing here: only what lies on the disk as its own, and what the kernel counted that its
container wrote. Files that it has deleted and keeps open, or has hidden too deep to be counted, show in the latter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hyperhive.config.room import Floor, Room

FASTEST: Final = 1 << 30
"""Bytes a second that a disk can be filled with; it is looked at before it could have come to the floor."""
FILES_A_SECOND: Final = 50_000
SOONEST_S: Final = 1.0
LATEST_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """Of the disk."""

    size: int = 0  #: in bytes
    files: int = 0
    whole: bool = True  #: all of it was counted; else it is at least so much


@dataclass(frozen=True, kw_only=True)
class Use(Part):
    """What one agent has of the disk, in its own places."""

    common: Part = Part()  #: what is its own where all write, and may keep each other's from being counted
    written: int = 0  #: by its container so far, where the kernel counts that

    @property
    def all_of_it(self) -> int:
        """In bytes."""
        return self.size + self.common.size


def look_again_s(room: Room, floor: Floor) -> float:
    """The time in which it cannot become short; often only where little is left."""
    ways = [(room.free - floor.free) / FASTEST]
    if floor.files_free:
        ways.append((room.files_free - floor.files_free) / FILES_A_SECOND)
    return min(max(min(ways), SOONEST_S), LATEST_S)


def culprit(before: Mapping[str, Use], now: Mapping[str, Use], *, lost: int, files: bool) -> str | None:
    """Of the agents that run, the one which took the room that was lost since `before`; None when none of them did.

    `files`: it is files that are lacking and not bytes. One that is not in `before` had nothing. Who took less than
    half of an equal share is not to blame for what others do; the host has more on its disk than agents. Where nobody
    did, it is one that cannot be seen whole, unless that was so before and the kernel counts what it writes.
    """
    if lost <= 0 or not now:
        return None
    enough = lost / (2 * len(now))
    grown = {name: _grown(before.get(name, Use()), use, files=files) for name, use in now.items()}
    written = {name: use.written - before.get(name, Use()).written for name, use in now.items()}
    for taken in (grown, {} if files else written):
        most = max(taken, key=lambda name: taken[name], default=None)
        if most is not None and taken[most] >= enough:
            return most
    hidden = {name: use.files for name, use in now.items() if not use.whole and (files or _hides(before, name, use))}
    return max(hidden, key=lambda name: hidden[name], default=None)


def _hides(before: Mapping[str, Use], name: str, now: Use) -> bool:
    return before.get(name, Use()).whole or not now.written


def _grown(before: Use, now: Use, *, files: bool) -> int:
    return _more(before, now, files=files) + _more(before.common, now.common, files=files)


def _more(before: Part, now: Part, *, files: bool) -> int:
    if not before.whole:
        return 0  # a part says nothing of the whole
    more = now.files - before.files if files else now.size - before.size
    return more if now.whole else max(0, more)
