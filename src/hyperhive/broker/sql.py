"""Named SQL: each statement stands in a `.sql` file under `-- name: …`, and is fetched by that name."""

import re
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "queries"
_NAME: Final = re.compile(r"^-- name: (\w+).*$", re.MULTILINE)


class Queries:
    """The statements of one file: `Queries("mailbox")["lease"]`. A name that is not there is a KeyError at import."""

    def __init__(self, noun: str) -> None:
        _, *parts = _NAME.split((_FOLDER / f"{noun}.sql").read_text())
        self._texts = {name: text.strip().rstrip(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}

    def __getitem__(self, name: str) -> str:
        return self._texts[name]
