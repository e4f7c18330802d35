"""Work in a thread that is carried to its end."""

import asyncio
import threading

import pytest

from hyperhive import threads


def test_whoever_is_cancelled_goes_when_the_thread_has_ended_however_often_that_is_asked_for() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(20)
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(threads.whole(work))
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())


def test_what_it_gives_and_raises_is_given_and_raised() -> None:
    assert asyncio.run(threads.whole(int, "7")) == 7
    with pytest.raises(ValueError, match="seven"):
        asyncio.run(threads.whole(int, "seven"))
