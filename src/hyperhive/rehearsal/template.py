"""`{{field}}` in a script's texts: filled from what the prompt and the conversation hold.

`{{name}}` is put in as text. A value that is just `{{name:int}}` becomes a number; where the field is empty, the key
that would have held it is left out.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

BUILT_IN: Final = ("agent", "id", "prompt", "result", "sender")
"""Fields that are always there: the agent's name, the number and sender of the message that woke it, the whole prompt,
the text of the newest tool result."""

_FIELD = re.compile(r"\{\{([a-z_][a-z0-9_]*)(:int)?\}\}")


def fields_in(value: object) -> Iterator[str]:
    """The names of the fields used anywhere in a text, list or table."""
    if isinstance(value, str):
        yield from (found[1] for found in _FIELD.finditer(value))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from fields_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from fields_in(item)


def fill_text(text: str, fields: Mapping[str, str]) -> str:
    """The text with its fields put in; an unknown one stays as it is."""
    return _FIELD.sub(lambda found: fields.get(found[1], found[0]), text)


def fill(value: Any, fields: Mapping[str, str]) -> Any:
    """A JSON value with the fields of all its texts put in."""
    if isinstance(value, str):
        return _fill_whole(value, fields)
    if isinstance(value, list):
        return [fill(item, fields) for item in value]
    if isinstance(value, dict):
        filled = {key: fill(item, fields) for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not None or value[key] is None}
    return value


def _fill_whole(text: str, fields: Mapping[str, str]) -> str | int | None:
    whole = _FIELD.fullmatch(text)
    if not whole or not whole[2]:
        return fill_text(text, fields)
    digits = fields.get(whole[1], "")
    return int(digits) if re.fullmatch(r"-?[0-9]{1,18}", digits) else None
