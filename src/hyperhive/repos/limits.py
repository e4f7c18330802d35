"""How much a config repository may hold."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RepoLimits:
    """Of one commit, but for the `source` ones, which bound the repository it is taken from."""

    files: int = 1000
    file_bytes: int = 256 << 10
    total_bytes: int = 4 << 20  #: of all files together, each counted where it stands
    depth: int = 16  #: of a path, in names
    commit_bytes: int = 64 << 10
    source_files: int = 100_000
    source_bytes: int = 128 << 20

    @property
    def tree_bytes(self) -> int:
        """Of one directory's listing: every file with the longest name there is."""
        return self.files * 300

    @property
    def output_bytes(self) -> int:
        """Of a whole commit as `pinned.encode` writes it: contents, listings, frames."""
        return 2 * self.total_bytes + self.files * 1024 + self.commit_bytes

    @property
    def objects(self) -> int:
        """Of a whole commit: itself, every file, every directory above one."""
        return 1 + self.files * (self.depth + 1)
