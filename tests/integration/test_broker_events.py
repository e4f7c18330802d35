import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from hand_clock import HandClock
from hyperhive.broker.database import Database
from hyperhive.broker.events import BURST_BYTES, HIVE, KEEP_BYTES, MAX_BEHIND_BYTES, EventLog, Resync
from hyperhive.protocol.events import MAX_PAYLOAD, EventRecord, HiveEvent, Note, Stream, record
from hyperhive.protocol.faults import FaultError, FaultKind

BIG = msgspec.Raw(b'"' + b"x" * (MAX_PAYLOAD - 2) + b'"')
Scene = Callable[[EventLog, HandClock], Awaitable[None]]


def play(folder: Path, scene: Scene, keep_bytes: int = KEEP_BYTES) -> None:
    async def run() -> None:
        clock = HandClock()
        database = await Database.open(folder / "hive.sqlite")
        log = await EventLog.open(database, clock, keep_bytes)
        await scene(log, clock)
        log.close()
        await database.close()

    asyncio.run(run())


def records(first: int, last: int, ts: float = 0.0) -> list[EventRecord]:
    return [
        EventRecord(seq=seq, ts=ts, kind="note", payload=msgspec.Raw(b'{"n":%d}' % seq))
        for seq in range(first, last + 1)
    ]


def big_records(first: int, last: int) -> list[EventRecord]:
    return [EventRecord(seq=seq, ts=0.0, kind="note", payload=BIG) for seq in range(first, last + 1)]


async def append_many(log: EventLog, first: int, last: int) -> None:
    for seq in range(first, last, 4):
        await log.append("a", 1, big_records(seq, seq + 3))


def payloads(events: list[HiveEvent]) -> list[bytes]:
    return [bytes(event.payload) for event in events]


def test_events_are_kept_in_order_and_read_on_from_an_id(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        assert await log.append("a", 1, records(1, 3)) == 3
        await log.append("b", 2, records(1, 2))
        everything = await log.after(0)
        assert [event.id for event in everything] == [1, 2, 3, 4, 5]
        assert [event.agent for event in await log.after(2)] == ["a", "b", "b"]
        assert payloads(await log.after(0, "b")) == [b'{"n":1}', b'{"n":2}']
        assert [event.id for event in await log.latest(limit=2)] == [4, 5]
        assert [event.id for event in await log.latest("a", 2)] == [2, 3]

    play(tmp_path, scene)


def test_events_sent_again_are_stored_once(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        await log.append("a", 1, records(1, 3))
        assert await log.append("a", 1, records(2, 5)) == 5
        assert await log.append("a", 1, records(1, 2)) == 5
        assert payloads(await log.after(0)) == [b'{"n":%d}' % seq for seq in range(1, 6)]
        assert await log.seen("a", 1) == 5
        assert await log.seen("a", 2) == 0, "another life of the name begins anew"

    play(tmp_path, scene)


def test_appends_of_one_tick_do_not_get_into_each_others_way(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        highest = await asyncio.gather(log.append("a", 1, records(1, 9)), log.append("a", 1, records(5, 12)))
        assert list(highest) == [9, 12]
        assert len(await log.after(0)) == 12

    play(tmp_path, scene)


def test_an_event_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        for seq, size in ((1, MAX_PAYLOAD + 1), (2**63, 1)):
            record = EventRecord(seq=seq, ts=0.0, kind="note", payload=msgspec.Raw(b"1" * size))
            with pytest.raises(FaultError) as refused:
                await log.append("a", 1, [record])
            assert refused.value.kind is FaultKind.INVALID_PARAMS
        assert await log.after(0) == []

    play(tmp_path, scene)


def test_a_subscriber_sees_what_comes_after_it_and_only_what_it_follows(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        await log.append("a", 1, records(1, 1))
        with log.subscribe("a") as one, log.subscribe() as everything:
            await log.append("b", 2, records(1, 1))
            await log.append("a", 1, records(2, 2))
            await log.tell("job", msgspec.Raw(b"{}"))
            assert payloads(await one.batch()) == [b'{"n":2}']  # type: ignore[arg-type]
            assert [event.agent for event in await everything.batch()] == ["b", "a", HIVE]  # type: ignore[union-attr]

    play(tmp_path, scene)


def test_history_and_subscription_meet_without_gap_or_double(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        await log.append("a", 1, records(1, 50))
        with log.subscribe() as live:
            appending = log.append("a", 1, records(51, 90))
            seen = [event.id for event in await log.after(0)]
            await appending
            await log.append("a", 1, records(91, 100))
            async for event in live:
                assert isinstance(event, HiveEvent)
                if event.id > seen[-1]:
                    seen.append(event.id)
                if event.id == 100:
                    break
        assert seen == list(range(1, 101))

    play(tmp_path, scene)


def test_what_the_hive_told_about_agents_is_found_by_its_kind(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        for agent, kind, text in [("a", "note", b"1"), ("b", "note", b"2"), ("b", "killed", b"3")]:
            await log.tell(kind, msgspec.Raw(text), agent)
        await log.append("a", 1, records(1, 3))
        assert payloads(await log.told("note", ["a", "b", "c"])) == [b"1", b"2"]
        assert payloads(await log.told("note", ["b"], limit=1)) == []

    play(tmp_path, scene)


def test_a_slow_subscriber_is_told_to_resync_and_the_others_go_on(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        with log.subscribe(limit=10) as slow, log.subscribe() as quick:
            await log.append("a", 1, records(1, 8))
            assert len(await slow.batch()) == 8
            await log.append("a", 1, records(9, 15))
            await log.append("a", 1, records(16, 20))
            assert [event async for event in slow] == [Resync(8)]
            assert [event.id for event in await log.after(8)] == list(range(9, 21))
            assert len(await quick.batch()) == 20

    play(tmp_path, scene)


def test_a_subscriber_is_too_slow_for_many_bytes_as_for_many_events(tmp_path: Path) -> None:
    async def scene(log: EventLog, clock: HandClock) -> None:
        fitting = MAX_BEHIND_BYTES // MAX_PAYLOAD
        with log.subscribe() as slow, log.subscribe() as quick:
            seen: list[object] = []
            for first in range(1, fitting + 4, 4):
                clock.advance(60)
                await log.append("a", 1, big_records(first, first + 3))
                seen += await quick.batch()
            assert await slow.batch() == [Resync(0)]
            assert len(seen) == fitting + 4
            await log.append("a", 1, records(fitting + 5, fitting + 5))
            assert len(await quick.batch()) == 1

    play(tmp_path, scene)


def test_an_agent_that_floods_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    async def scene(log: EventLog, clock: HandClock) -> None:
        with pytest.raises(FaultError, match="try again in") as refused:
            await append_many(log, 1, 1000)
        assert refused.value.kind is FaultKind.TOO_FAST
        seen = await log.seen("a", 1)
        assert seen * MAX_PAYLOAD <= BURST_BYTES
        await log.append("b", 2, big_records(1, 1))
        await log.tell("job", BIG)
        clock.advance(1)
        assert await log.append("a", 1, big_records(seen + 1, seen + 4)) == seen + 4, "no event of it is lost"

    play(tmp_path, scene)


def test_an_agent_that_fills_the_log_is_trimmed_as_it_goes(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        await append_many(log, 1, (32 << 20) // MAX_PAYLOAD)
        assert (tmp_path / "hive.sqlite").stat().st_size < 12 << 20

    play(tmp_path, scene, keep_bytes=4 << 20)


def test_what_is_read_at_once_is_bounded_in_bytes(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        await append_many(log, 1, 100)
        first = await log.after(0)
        assert 50 < len(first) < 80
        assert len(first + await log.after(first[-1].id)) == 100, "reading on gives the rest"
        assert (await log.latest())[-1].id == 100

    play(tmp_path, scene)


def test_a_closed_subscription_ends(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        subscription = log.subscribe()
        ending = asyncio.ensure_future(subscription.batch())
        await asyncio.sleep(0)
        subscription.close()
        assert await ending == []
        assert [event async for event in subscription] == []

    play(tmp_path, scene)


def test_ids_go_on_after_a_restart_and_a_trim(tmp_path: Path) -> None:
    async def first(log: EventLog, clock: HandClock) -> None:
        await log.append("a", 1, records(1, 5, ts=clock.now()))
        clock.advance(8 * 86400)
        assert await log.trim() == 5

    async def second(log: EventLog, _clock: HandClock) -> None:
        assert log.last == 5
        await log.append("a", 1, records(6, 6))
        assert [event.id for event in await log.after(0)] == [6]

    play(tmp_path, first)
    play(tmp_path, second)


def test_a_trim_keeps_so_many_bytes_of_each_agent(tmp_path: Path) -> None:
    async def scene(log: EventLog, clock: HandClock) -> None:
        await log.append("talker", 1, big_records(1, 40))
        await log.append("quiet", 2, records(1, 3))
        assert await log.trim(keep_s=clock.now()) == 36
        assert [event.id for event in await log.after(0, "talker")] == [37, 38, 39, 40]
        assert len(await log.after(0, "quiet")) == 3

    play(tmp_path, scene, keep_bytes=4 * MAX_PAYLOAD + 100)


def test_a_trim_keeps_the_newest_of_each_agent_and_what_is_young(tmp_path: Path) -> None:
    async def scene(log: EventLog, clock: HandClock) -> None:
        await log.append("busy", 1, records(1, 700, ts=clock.now()))
        await log.append("quiet", 2, records(1, 3, ts=clock.now()))
        await log.append("old", 3, records(1, 2, ts=clock.now() - 8 * 86400))
        assert await log.trim(keep_events=100) == 602
        assert payloads(await log.after(0, "busy"))[0] == b'{"n":601}'
        assert len(await log.after(0, "quiet")) == 3
        assert await log.after(0, "old") == []

    play(tmp_path, scene)


# pieces of texts: what a later event has whole


def piece(seq: int, ts: float = 0.0, value: bytes = b'{"type":"stream_event","event":{}}') -> EventRecord:
    return record(seq, ts, Stream(value=msgspec.Raw(value)))


def test_an_agents_history_is_what_lasts_newest_first(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        await log.append("a", 1, [piece(1), *records(2, 3), piece(4), piece(5), *records(6, 7)])
        await log.append("b", 2, records(1, 1))
        assert [event.id for event in await log.before(2**63 - 1, "a")] == [7, 6, 3, 2]
        assert [event.id for event in await log.before(7, "a", 2)] == [6, 3]
        assert [event.id for event in await log.before(2, "a")] == []
        assert [event.id for event in await log.lasting(2, "a")] == [3, 6, 7]
        assert [event.id for event in await log.after(0, "a")] == [1, 2, 3, 4, 5, 6, 7], "who follows gets the pieces"

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "value", [b'{"type":"assistant"}', b'{"type":"system","x":"stream_event"}', b'{"text":{"type":"stream_event"}}']
)
def test_only_a_piece_passes(tmp_path: Path, value: bytes) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        await log.append("a", 1, [piece(1, value=value), record(2, 0.0, Note(text='{"type":"stream_event"'))])
        assert [event.id for event in await log.before(100, "a")] == [2, 1]

    play(tmp_path, scene)


def test_pieces_go_after_an_hour_and_the_rest_stays(tmp_path: Path) -> None:
    async def scene(log: EventLog, clock: HandClock) -> None:
        old, young = clock.now() - 3601, clock.now() - 3000
        await log.append("a", 1, [piece(1, old), *records(2, 2, old), piece(3, old), piece(4, young)])
        await log.append("a", 1, records(5, 5, young))
        assert await log.trim() == 2
        assert [event.id for event in await log.after(0, "a")] == [2, 4, 5]

    play(tmp_path, scene)


def test_pieces_take_no_place_among_the_events_that_are_kept(tmp_path: Path) -> None:
    async def scene(log: EventLog, clock: HandClock) -> None:
        now = clock.now()
        for first in range(1, 1000, 10):
            await log.append("a", 1, [*records(first, first, now), *(piece(first + n, now) for n in range(1, 10))])
        assert await log.trim(keep_events=100) == 800, "of the pieces, too, the newest are kept"
        assert len(await log.before(2**62, "a")) == 100

    play(tmp_path, scene)


def test_an_agent_that_writes_without_end_loses_pieces_and_nothing_else(tmp_path: Path) -> None:
    async def scene(log: EventLog, clock: HandClock) -> None:
        await log.append("a", 1, records(1, 3, clock.now()))
        big = b'{"type":"stream_event","x":"' + b"x" * 200_000 + b'"}'
        for seq in range(4, 104):
            await log.append("a", 1, [piece(seq, clock.now(), big)])
        await log.trim()
        kept = await log.after(0, "a")
        assert [event.id for event in kept[:3]] == [1, 2, 3]
        assert len(kept) == 3 + (8 << 20) // 4 // 200_000

    play(tmp_path, scene, keep_bytes=8 << 20)


def test_the_newest_piece_stays_since_the_harness_goes_on_behind_it(tmp_path: Path) -> None:
    async def scene(log: EventLog, clock: HandClock) -> None:
        await log.append("a", 1, [*records(1, 1, clock.now()), piece(2), piece(3)])
        assert await log.trim() == 1
        assert await log.seen("a", 1) == 3

    play(tmp_path, scene)


def test_an_agent_cannot_speak_as_the_hive(tmp_path: Path) -> None:
    async def scene(log: EventLog, _clock: HandClock) -> None:
        forged = [EventRecord(seq=1, ts=0.0, kind="approval_resolved", payload=msgspec.Raw(b"{}"))]
        with log.subscribe("a") as live:
            await log.append("a", 1, [*forged, *records(2, 2)])
            await log.tell("approval_resolved", msgspec.Raw(b"{}"), "a")
            told = [event.kind for event in await live.batch() if isinstance(event, HiveEvent)]
        assert told == ["unknown", "note", "approval_resolved"]
        assert [event.kind for event in await log.after(0)] == told

    play(tmp_path, scene)
