"""How much room the file system of the hive's state has, and how little is too little."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LEAST: Final = 1 << 30
SHARE: Final = 0.02
MOST_OF_A_SMALL_ONE: Final = 0.1
AGAIN: Final = 1.25
"""Times the floor: what must be free until there is room again."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What an unprivileged user may still write. `files` is 0 where the file system does not count them."""

    free: int
    total: int
    files_free: int = 0
    files: int = 0

    @classmethod
    def at(cls, place: Path) -> "Room":
        """Asks the file system, which may take its time: call it off the loop. Raises OSError."""
        found = os.statvfs(place)
        return cls(
            free=found.f_bavail * found.f_frsize, total=found.f_blocks * found.f_frsize, files_free=found.f_favail,
            files=found.f_files,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Where it is short: in bytes, and in files."""

    free: int
    files_free: int = 0

    @classmethod
    def of(cls, room: Room, wanted: int | None = None) -> "Floor":
        """`wanted` bytes, 0 for none at all; or, without a word, a part that suits the size of the file system."""
        usual = min(max(LEAST, int(room.total * SHARE)), int(room.total * MOST_OF_A_SMALL_ONE))
        files = 0 if wanted == 0 else int(room.files * SHARE)
        return cls(free=usual if wanted is None else wanted, files_free=files)

    def lacks_bytes(self, room: Room) -> bool:
        return room.free < self.free

    def lacks_files(self, room: Room) -> bool:
        return room.files_free < self.files_free

    def is_short(self, room: Room) -> bool:
        return self.lacks_bytes(room) or self.lacks_files(room)

    def is_clear_of(self, room: Room) -> bool:
        """Whether there is so much room that it is not short again in a moment."""
        return room.free >= self.free * AGAIN and room.files_free >= self.files_free * AGAIN


def size_words(size: int) -> str:
    """In the unit that suits it."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
