"""What a hive keeps about its NixOS containers, for the one that comes back: a file each."""

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from hyperhive.containers import nixos_conf
from hyperhive.containers.pidfd import Process

_MAX_BYTES: Final = 65536


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A system that a container has, or had."""

    made_of: str = ""
    sha: str = ""  #: of the config that it is of
    system: str = ""  #: where it lies, in the store


class Record(Built, frozen=True, kw_only=True):
    """What is kept about a container, for a hive that comes back."""

    name: str
    before: Built = Built()  #: the system that it had before this one
    boot: str = ""
    main: Process | None = None  #: of its latest life; None: that was seen to its end


class Records:
    """`directory` stays beyond the boot and belongs to the hive alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def of(self, name: str, **changes: object) -> Record:
        """With these changes, which are not kept by that; of a container that there is none of, an empty one."""
        found = await asyncio.to_thread(self.read, name)
        return msgspec.structs.replace(found or Record(name=name), **changes)

    async def keep(self, record: Record) -> None:
        await asyncio.to_thread(self._write, record)

    def all(self) -> list[Record]:
        """Reads files, as `read` does."""
        names = sorted(path.stem for path in self._directory.glob("*.json"))
        return [record for record in map(self.read, names) if record is not None]

    def read(self, name: str) -> Record | None:
        try:
            with self._path(name).open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_BYTES), type=Record)
        except (OSError, msgspec.MsgspecError):
            return None

    def forget(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _write(self, record: Record) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        nixos_conf.write(self._path(record.name), msgspec.json.encode(record).decode())

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"
