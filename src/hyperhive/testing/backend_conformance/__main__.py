"""Tries the bubblewrap backend as the ordinary user who runs this and prints one line of JSON per case."""

import asyncio
import sys
from pathlib import Path

import msgspec

from hyperhive.testing.backend_conformance import CASES, attempt, bubblewrap_ground


async def _main(directory: Path, sentences: list[str]) -> None:
    for number, sentence in enumerate(sentences):
        ground = await bubblewrap_ground(directory / str(number), uid=None)
        try:
            await attempt(ground, sentence)
            failure = ""
        except Exception as error:  # noqa: BLE001 - the report of a case is its outcome, whatever it was
            failure = f"{type(error).__name__}: {error}"
        sys.stdout.write(msgspec.json.encode({"case": sentence, "failure": failure}).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2:] or list(CASES)))
