"""What has been made, and comes to its place."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from hyperhive.images import made, places
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


def test_one_that_is_given_up_on_its_way_to_its_place_is_there_before_its_maker_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_its_way, may_go_on = threading.Event(), threading.Event()
    settle_down = places.settle_down

    def slowly(work: Path, place: Path) -> None:
        on_its_way.set()
        may_go_on.wait(20)
        settle_down(work, place)

    monkeypatch.setattr(places, "settle_down", slowly)

    work = made.fresh(tmp_path, "work")
    (work / made.ROOT).mkdir()
    (tmp_path / "bases").mkdir()
    drafted = Draft(work=work, epoch=10, began=time.time())

    async def given_up() -> None:
        making = asyncio.create_task(drafted.finish(made.draft(Kind.BASE, "an-id"), tmp_path / "bases"))
        await asyncio.to_thread(on_its_way.wait, 20)
        making.cancel()
        await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert await asyncio.to_thread(made.all_in, tmp_path / "bases")

    asyncio.run(given_up())
