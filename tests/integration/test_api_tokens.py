"""The API's tokens over a real database: what they are good for, how long, and what ends with them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hand_clock import HandClock
from hyperhive.broker.api_tokens import MOST, PREFIX, ApiTokens
from hyperhive.broker.database import Database
from hyperhive.hub.tokens import DAY_S, Tokens
from hyperhive.protocol.faults import FaultError, FaultKind

Scene = Callable[[Tokens, HandClock], Awaitable[None]]


def play(folder: Path, *scenes: Scene) -> None:
    """The scenes one after the other, the hive's end and start between them."""
    clock = HandClock()

    async def run() -> None:
        for scene in scenes:
            database = await Database.open(folder / "hive.sqlite")
            try:
                await scene(Tokens(ApiTokens(database, clock), clock), clock)
            finally:
                await database.close()

    asyncio.run(run())


def test_a_token_is_good_in_the_next_life_of_the_hive_too(tmp_path: Path) -> None:
    kept: list[str] = []

    async def make(tokens: Tokens, clock: HandClock) -> None:
        token, row = await tokens.create("scripts", "operate", None)
        kept.append(token)
        assert (row.name, row.scope, row.expires_at, row.used_at) == ("scripts", "operate", None, None)

    async def use(tokens: Tokens, clock: HandClock) -> None:
        row = await tokens.who(kept[0])
        assert row is not None
        assert (row.name, row.scope) == ("scripts", "operate")

    play(tmp_path, make, use)


def test_nothing_that_is_kept_lets_anybody_in(tmp_path: Path) -> None:
    kept: list[str] = []

    async def scene(tokens: Tokens, clock: HandClock) -> None:
        token, row = await tokens.create("scripts", "read", None)
        kept.append(token)
        assert token.startswith(PREFIX)
        assert len(token) > 40
        assert token not in repr(await tokens.alive())
        assert row.on_wire().name == "scripts"
        for guess in (row.hash.hex(), str(row.id), token[:-1], token + "x", "", "x" * 100_000, "\ud800"):
            assert await tokens.who(guess) is None

    play(tmp_path, scene)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"scripts" in stored
    assert kept[0].encode() not in stored
    assert kept[0].removeprefix(PREFIX).encode() not in stored


def test_a_token_that_has_expired_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    async def scene(tokens: Tokens, clock: HandClock) -> None:
        token, row = await tokens.create("for a while", "read", 2)
        clock.advance(2 * DAY_S - 1)
        assert await tokens.who(token) is not None
        clock.advance(1)
        assert await tokens.who(token) is None
        assert await tokens.alive() == []
        with pytest.raises(FaultError) as fault:
            await tokens.revoke(row.id)
        assert fault.value.kind is FaultKind.UNKNOWN_TOKEN

    play(tmp_path, scene)


def test_a_revoked_token_is_good_for_nothing_and_what_it_has_open_ends(tmp_path: Path) -> None:
    async def scene(tokens: Tokens, clock: HandClock) -> None:
        (token, row), (other, other_row) = [await tokens.create(name, "read", None) for name in ("one", "two")]
        with tokens.open.inside(row.id) as ended, tokens.open.inside(other_row.id) as others:
            await tokens.revoke(row.id)
            assert ended.done()
            assert not others.done()
            with tokens.open.inside(row.id) as late:
                assert late.done()
        assert await tokens.who(token) is None
        assert await tokens.who(other) is not None
        assert len(tokens.open) == 0
        with pytest.raises(FaultError) as fault:
            await tokens.revoke(row.id)
        assert fault.value.kind is FaultKind.UNKNOWN_TOKEN

    play(tmp_path, scene)


def test_what_is_open_ends_with_the_dashboard_and_may_come_back(tmp_path: Path) -> None:
    async def scene(tokens: Tokens, clock: HandClock) -> None:
        _, row = await tokens.create("one", "read", None)
        with tokens.open.inside(row.id) as ended:
            tokens.open.close()
            assert ended.done()
        with tokens.open.inside(row.id) as ended:
            assert not ended.done()

    play(tmp_path, scene)


def test_the_list_says_to_the_minute_when_a_token_was_used(tmp_path: Path) -> None:
    async def scene(tokens: Tokens, clock: HandClock) -> None:
        token, _ = await tokens.create("one", "read", None)
        await tokens.create("never used", "read", None)
        begun = clock.now()
        await tokens.who(token)
        clock.advance(30)
        await tokens.who(token)
        assert [row.used_at for row in await tokens.alive()] == [None, begun]
        clock.advance(31)
        await tokens.who(token)
        assert [row.used_at for row in await tokens.alive()] == [None, begun + 61]

    play(tmp_path, scene)


def test_there_are_only_so_many_tokens_and_those_that_expired_do_not_count(tmp_path: Path) -> None:
    async def scene(tokens: Tokens, clock: HandClock) -> None:
        await tokens.create("for a day", "read", 1)
        await asyncio.gather(*(tokens.create("one of many", "read", None) for _ in range(MOST - 1)))
        with pytest.raises(FaultError) as fault:
            await tokens.create("one too many", "read", None)
        assert fault.value.kind is FaultKind.WRONG_STATE
        clock.advance(DAY_S)
        await tokens.create("one again", "read", None)

    play(tmp_path, scene)
