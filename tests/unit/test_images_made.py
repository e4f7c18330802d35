"""What has been made, and comes to its place."""

import asyncio
import time
from pathlib import Path

from hyperhive.images import made
from hyperhive.images.made import Draft, Kind, Made


def finished(top: Path, text: str) -> Made:
    work = made.fresh(top, "work")
    (work / made.ROOT).mkdir()
    (work / made.ROOT / "file").write_text(text)
    (top / "layers").mkdir(exist_ok=True)
    drafted = Draft(work=work, epoch=10, began=time.time())
    return asyncio.run(drafted.finish(made.draft(Kind.LAYER, "an-id"), top / "layers"))


def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    first, second = finished(tmp_path, "first"), finished(tmp_path, "second")

    assert (second.root / "file").read_text() == "first"
    assert second == first


def test_what_a_killed_hive_had_half_deleted_is_made_anew(tmp_path: Path) -> None:
    (finished(tmp_path, "first").place / "manifest.json").unlink()

    assert (finished(tmp_path, "second").root / "file").read_text() == "second"
