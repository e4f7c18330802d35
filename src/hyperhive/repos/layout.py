"""A git repository made by hand: only what git needs to call it one, and a config that nobody else wrote."""

import os
from pathlib import Path
from typing import Final

BARE: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
WITH_FILES: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"


def lay_out(git: Path, config: str = BARE) -> None:
    """An empty repository in the new directory `git`, on a `main` that is not born; readable by everyone."""
    for directory in (git, git / "objects", git / "objects/pack", git / "refs", git / "refs/heads", git / "refs/tags"):
        directory.mkdir()
        directory.chmod(0o755)
    for name, text in (("HEAD", "ref: refs/heads/main\n"), ("config", config)):
        (git / name).write_text(text)
        (git / name).chmod(0o644)


def cut_off(git: Path, sha: str) -> None:
    """Tells git that the history ends at this commit: its parents are not here."""
    shallow = git / "shallow"
    known = set(shallow.read_text().split()) if shallow.exists() else set()
    if sha in known:
        return
    fresh = git / "shallow.new"
    with fresh.open("w") as file:
        file.write("".join(f"{one}\n" for one in sorted({*known, sha})))
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(0o644)
    fresh.replace(shallow)
