"""What every container backend must do, as a suite that any test runner can call.

A case is a coroutine function of a `Ground` that raises AssertionError when the sentence in its name is not true.
`life`, `restarts`, `limits`, `logs`, `network`, `files`, `inheritance` and `entering` hold the cases, a file for each
subject; every public coroutine function written in one of them is a case. What cases share stands in `ground`.

A backend plugs in by a function beside `bubblewrap_ground` that makes it and hands it to `ground_of`: no case names a
backend. Its tests try each of `CASES` with `attempt`, on a fresh ground each time, once as root and once as a user.

`python -m hyperhive.testing.backend_conformance DIR [SENTENCE...]` tries the bubblewrap backend as an ordinary user.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

from hyperhive.containers.bubblewrap import Bubblewrap
from hyperhive.containers.host import read_host
from hyperhive.containers.nspawn import Nspawn
from hyperhive.containers.spec import Init
from hyperhive.testing.backend_conformance import entering, files, inheritance, life, limits, logs, network, restarts
from hyperhive.testing.backend_conformance.ground import Ground, ground_of, hive, says

__all__ = [
    "CASES",
    "CASE_TIMEOUT_S",
    "Case",
    "Ground",
    "attempt",
    "bubblewrap_ground",
    "ground_of",
    "hive",
    "nspawn_ground",
    "says",
]

Case = Callable[[Ground], Awaitable[None]]

CASE_TIMEOUT_S: Final = 45.0


def _cases(module: ModuleType) -> Iterator[tuple[str, Case]]:
    for name, found in vars(module).items():
        if inspect.iscoroutinefunction(found) and found.__module__ == module.__name__ and not name.startswith("_"):
            yield name.replace("_", " "), found


CASES: Final[Mapping[str, Case]] = {
    sentence: case
    for module in (life, restarts, limits, logs, network, files, inheritance, entering)
    for sentence, case in _cases(module)
}


async def bubblewrap_ground(directory: Path, *, uid: int | None) -> Ground:
    """The ground on which the bubblewrap backend is tried in a directory of its own."""
    return await ground_of(Bubblewrap(await read_host()), directory, uid=uid)


async def nspawn_ground(directory: Path, *, uid: int, layers: tuple[Path, ...], init: Init = Init.RUNNER) -> Ground:
    """The same for the nspawn backend; `uid` as the backend wants it, `layers` with the agent's user in them."""
    return await ground_of(Nspawn(await read_host()), directory, uid=uid, layers=layers, init=init)


async def attempt(ground: Ground, sentence: str) -> None:
    """One case, within a bound."""
    async with asyncio.timeout(CASE_TIMEOUT_S):
        await CASES[sentence](ground)
