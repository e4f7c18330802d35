"""What models cost, so that the hive counts for itself."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta, Struct

from hyperhive.protocol.faults import FaultError, FaultKind

MOST_TOKENS: Final = 10_000_000
"""Of one kind in one request, or in one turn: an agent that says more is not believed."""
_MOST_UNKNOWN: Final = 64

Usd = Annotated[float, Meta(ge=0, le=100_000)]
log = structlog.get_logger(__name__)


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars for a million tokens of each sort."""

    input: Usd
    output: Usd
    cache_write: Usd
    cache_read: Usd


class Usage(Struct, frozen=True, rename={"cache_write": "cache_creation_input_tokens",
                                         "cache_read": "cache_read_input_tokens",
                                         "input": "input_tokens", "output": "output_tokens"}):  # fmt: skip
    """Tokens of a request, as the model's own events say it; what they do not say is None."""

    input: int | None = 0
    output: int | None = 0
    cache_write: int | None = 0
    cache_read: int | None = 0

    def bounded(self) -> "Usage":
        return Usage(*(min(max(getattr(self, name) or 0, 0), MOST_TOKENS) for name in self.__struct_fields__))

    def raised_to(self, other: "Usage") -> "Usage":
        """Each number at its highest: within a request they only rise."""
        ours, theirs = self.bounded(), other.bounded()
        return Usage(*(max(getattr(ours, name), getattr(theirs, name)) for name in self.__struct_fields__))

    @property
    def tokens(self) -> int:
        return (self.input or 0) + (self.output or 0) + (self.cache_write or 0) + (self.cache_read or 0)


def _price(input_usd: float, output_usd: float) -> Price:
    return Price(input=input_usd, output=output_usd, cache_write=input_usd * 1.25, cache_read=input_usd / 10)


KNOWN: Final[Mapping[str, Price]] = {
    "opus": _price(15, 75),
    "sonnet": _price(3, 15),
    "haiku": _price(1, 5),
    "haiku-5": _price(0.1, 0.5),
}
"""By a part of the model's name. A guess to begin with: the operator's own file takes its place."""


@dataclass(frozen=True)
class Prices:
    """`by_part` is by a part of the model's name; the longest part that fits counts."""

    by_part: Mapping[str, Price] = field(default_factory=lambda: KNOWN)
    _unknown: set[str] = field(default_factory=set)

    @classmethod
    def from_file(cls, path: Path) -> "Prices":
        """The known prices, with the file's in their place where it has some. Raises FaultError (`bad_config`)."""
        try:
            own = msgspec.convert(tomllib.loads(path.read_text()), dict[str, Price])
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise FaultError(FaultKind.BAD_CONFIG, f"cannot read the prices in {path}: {error}") from None
        return cls({**KNOWN, **own})

    def of(self, model: str) -> Price:
        """Of a model that is not known the dearest counts, and the log says so once."""
        parts = [part for part in self.by_part if part in model.lower()]
        if parts:
            return self.by_part[max(parts, key=len)]
        if model and model not in self._unknown and len(self._unknown) < _MOST_UNKNOWN:
            self._unknown.add(model)
            log.warning("the price of a model is not known: it is counted as the dearest", model=model[:100])
        return max(self.by_part.values(), key=lambda price: price.output)

    def usd(self, model: str, usage: Usage) -> float:
        price, known = self.of(model), usage.bounded()
        return (
            (known.input or 0) * price.input
            + (known.output or 0) * price.output
            + (known.cache_write or 0) * price.cache_write
            + (known.cache_read or 0) * price.cache_read
        ) / 1_000_000
