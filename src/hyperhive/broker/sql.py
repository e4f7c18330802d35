"""Named SQL: each statement stands in a `.sql` file under `-- name: …`, and is fetched by that name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hyperhive.broker.database import Connection

_FOLDER: Final = Path(__file__).parent / "queries"
_NAME: Final = re.compile(r"^-- name: (\w+).*$", re.MULTILINE)


class Queries:
    """The statements of one file: `Queries("mailbox")["lease"]`. A name that is not there is a KeyError at import."""

    def __init__(self, noun: str) -> None:
        _, *parts = _NAME.split((_FOLDER / f"{noun}.sql").read_text())
        self._texts = {name: text.strip().rstrip(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def rows(self, connection: Connection, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run the statement; each row that it gives, by the names of its columns."""
        cursor = connection.execute(self[name], values)
        columns = [column[0] for column in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def storable(text: str) -> str:
    """The text as sqlite can keep it: half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
