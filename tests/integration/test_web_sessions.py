"""Links and sessions of the dashboard, and the door that they open, over a real database."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hand_clock import HandClock
from hyperhive.broker.database import Database
from hyperhive.broker.web_sessions import IDLE_S, LASTS_S, LINK_S, MOST, WebSessions
from hyperhive.hub.doors import Doors
from hyperhive.protocol.faults import FaultError, FaultKind

URL = "http://127.0.0.1:7000"
Scene = Callable[[Doors, HandClock], Awaitable[None]]


def play(folder: Path, *scenes: Scene) -> None:
    """The scenes one after the other, the hive's end and start between them."""
    clock = HandClock()

    async def run() -> None:
        for scene in scenes:
            database = await Database.open(folder / "hive.sqlite")
            try:
                doors = Doors(WebSessions(database, clock), clock)
                doors.open_at(URL)
                await scene(doors, clock)
            finally:
                await database.close()

    asyncio.run(run())


async def invited(doors: Doors) -> str:
    link = await doors.invite()
    url, _, token = link.partition("#")
    assert url == f"{URL}/login"
    return token


async def come_in(doors: Doors, browser: str = "a browser") -> str:
    return await doors.enter(await invited(doors), address="127.0.0.1", browser=browser)


async def refused(entering: Awaitable[object]) -> FaultKind:
    with pytest.raises(FaultError) as fault:
        await entering
    return fault.value.kind


def test_a_link_lets_one_browser_in_once(tmp_path: Path) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        link = await invited(doors)
        token = await doors.enter(link, address="10.1.2.3", browser="one")
        session = await doors.who(token)
        assert session is not None
        assert (session.address, session.browser) == ("10.1.2.3", "one")
        assert await refused(doors.enter(link, address="", browser="")) is FaultKind.NOT_ALLOWED
        assert len(await doors.sessions()) == 1

    play(tmp_path, scene)


def test_of_many_who_use_a_link_at_once_one_gets_in(tmp_path: Path) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        link = await invited(doors)
        tries = (doors.enter(link, address="", browser=str(number)) for number in range(50))
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(result, str) for result in results) == 1
        assert len(await doors.sessions()) == 1

    play(tmp_path, scene)


def test_a_link_is_good_for_a_minute_and_over_a_restart_of_the_hive(tmp_path: Path) -> None:
    links: list[str] = []

    async def before(doors: Doors, clock: HandClock) -> None:
        links.extend([await invited(doors), await invited(doors)])
        clock.advance(LINK_S - 1)

    async def after(doors: Doors, clock: HandClock) -> None:
        assert await doors.enter(links[0], address="", browser="")
        clock.advance(1)
        assert await refused(doors.enter(links[1], address="", browser="")) is FaultKind.NOT_ALLOWED

    play(tmp_path, before, after)


@pytest.mark.parametrize("token", ["", "x", "a" * 5000, "\0", "' OR 1=1 --", "\ud800", "é"])
def test_what_is_no_token_opens_nothing(tmp_path: Path, token: str) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        await come_in(doors)
        await invited(doors)
        assert await refused(doors.enter(token, address="", browser="")) is FaultKind.NOT_ALLOWED
        assert await doors.who(token) is None

    play(tmp_path, scene)


def test_a_link_is_no_session_and_a_session_no_link(tmp_path: Path) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        link = await invited(doors)
        assert await doors.who(link) is None
        token = await come_in(doors)
        assert await refused(doors.enter(token, address="", browser="")) is FaultKind.NOT_ALLOWED

    play(tmp_path, scene)


def test_the_database_holds_no_token(tmp_path: Path) -> None:
    tokens: list[str] = []

    async def scene(doors: Doors, clock: HandClock) -> None:
        tokens.extend([await invited(doors), await come_in(doors)])

    play(tmp_path, scene)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [token for token in tokens if token.encode() in stored] == []


def test_a_session_outlives_the_hive_and_ends_by_itself_when_it_rests_or_is_old(tmp_path: Path) -> None:
    tokens: list[str] = []
    began: list[float] = []

    async def begin(doors: Doors, clock: HandClock) -> None:
        began.append(clock.now())
        tokens.extend([await come_in(doors), await come_in(doors)])

    async def use(doors: Doors, clock: HandClock) -> None:
        used, rests = tokens
        clock.advance(IDLE_S - 1)
        assert await doors.who(used) is not None
        clock.advance(1)
        assert await doors.who(rests) is None
        assert [session.id for session in await doors.sessions()] == [1]
        for _ in range(LASTS_S // IDLE_S - 1):
            clock.advance(IDLE_S - 100)
            assert await doors.who(used) is not None
        clock.advance(LASTS_S - (clock.now() - began[0]))
        assert await doors.who(used) is None
        assert await doors.sessions() == []

    play(tmp_path, begin, use)


def test_there_are_not_ever_more_sessions(tmp_path: Path) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        for number in range(MOST + 3):
            await come_in(doors, str(number))
        assert [session.browser for session in await doors.sessions()] == [
            str(number) for number in reversed(range(3, MOST + 3))
        ]

    play(tmp_path, scene)


def test_a_session_that_is_ended_takes_along_what_is_open_for_it_and_nothing_else(tmp_path: Path) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        ours, theirs = [await doors.who(await come_in(doors)) for _ in range(2)]
        assert ours
        assert theirs
        with doors.inside(ours.id) as page, doors.inside(ours.id) as another, doors.inside(theirs.id) as kept:
            await doors.end(ours.id)
            assert (page.done(), another.done(), kept.done()) == (True, True, False)
            with doors.inside(ours.id) as late:  # looked up before, let in after
                assert late.done()
        assert [session.id for session in await doors.sessions()] == [theirs.id]
        assert await refused(doors.end(ours.id)) is FaultKind.UNKNOWN_SESSION

    play(tmp_path, scene)


def test_everyone_can_be_logged_out(tmp_path: Path) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        tokens = [await come_in(doors) for _ in range(3)]
        with doors.inside(2) as page:
            assert await doors.end_all() == 3
            assert page.done()
        assert [await doors.who(token) for token in tokens] == [None] * 3

    play(tmp_path, scene)


def test_a_closed_door_makes_no_links_and_says_why_but_its_sessions_stay(tmp_path: Path) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        token = await come_in(doors)
        with doors.inside(1) as page:
            doors.close("the port is another's")
            assert page.done()
        with pytest.raises(FaultError, match="the port is another's") as fault:
            await doors.invite()
        assert fault.value.kind is FaultKind.UNAVAILABLE
        doors.open_at(URL)
        assert await doors.who(token) is not None
        with doors.inside(1) as page:
            assert not page.done()

    play(tmp_path, scene)


def test_what_a_browser_says_of_itself_is_kept_short(tmp_path: Path) -> None:
    async def scene(doors: Doors, clock: HandClock) -> None:
        await come_in(doors, "\ud800" + "b" * 100_000)
        (session,) = await doors.sessions()
        assert session.browser == "?" + "b" * 199

    play(tmp_path, scene)
