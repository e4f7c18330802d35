"""What is open for whom, so that it ends at once when its owner is sent away."""

import asyncio
import contextlib
from collections.abc import Iterator


class Presence:
    """Of sessions, or of tokens, by their ids. An id that was sent away never comes back."""

    def __init__(self) -> None:
        self._inside: dict[int, set[asyncio.Future[None]]] = {}
        self._ended: set[int] = set()  #: so that whoever was looked up before is not let in after

    def __len__(self) -> int:
        """How much is open."""
        return sum(map(len, self._inside.values()))

    def count(self, id: int) -> int:
        """How much of it is the id's."""
        return len(self._inside.get(id, ()))

    @contextlib.contextmanager
    def inside(self, id: int) -> Iterator["asyncio.Future[None]"]:
        """While something is open for the id: a future that is done when it has to end."""
        ended = asyncio.get_running_loop().create_future()
        if id in self._ended:
            ended.set_result(None)
        here = self._inside.setdefault(id, set())
        here.add(ended)
        try:
            yield ended
        finally:
            here.discard(ended)
            ended.cancel()
            if not here and self._inside.get(id) is here:
                del self._inside[id]

    def has_ended(self, id: int) -> bool:
        return id in self._ended

    def end(self, id: int) -> None:
        """For good."""
        self._ended.add(id)
        self._show_out(id)

    def close(self) -> None:
        """Whatever is open ends; who it was open for may come back."""
        for id in [*self._inside]:
            self._show_out(id)

    def _show_out(self, id: int) -> None:
        for ended in self._inside.pop(id, ()):
            if not ended.done():
                ended.set_result(None)
