"""The container's first process; see `hyperhive.harness` for how it is started and how it ends."""

import gc
import sys
from typing import Final

EXIT_UNUSABLE: Final = 2
EXIT_SUPERSEDED: Final = 3


def main() -> int:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # asyncio does without, and it is a quarter of our memory
    gc.disable()  # imports make many objects and hardly any garbage
    import asyncio

    return asyncio.run(_run())


async def _run() -> int:
    import os

    from hyperhive.harness import git
    from hyperhive.harness.assembly import Runner
    from hyperhive.harness.link import SupersededError
    from hyperhive.harness.log import say
    from hyperhive.harness.surroundings import Surroundings, UnusableError, read_document

    gc.freeze()
    gc.enable()
    try:
        place = Surroundings.from_env(os.environ)
        document = read_document(place.config)
        place.enter()
        git.configure(place.home, document)
    except UnusableError as error:
        say(str(error))
        return EXIT_UNUSABLE
    status = 0
    try:
        await Runner(place, document).run()
    except* SupersededError:
        say("a newer harness of this agent has taken over")
        status = EXIT_SUPERSEDED
    return status


if __name__ == "__main__":
    sys.exit(main())
