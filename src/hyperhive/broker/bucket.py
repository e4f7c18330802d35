"""How fast one agent may do what costs the others."""

from collections.abc import Hashable


class Bucket:
    """A rate: `rate` per second, after a burst."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens: float = burst
        self._since = 0.0

    def take(self, now: float, amount: int = 1) -> float:
        """Take so many, at most a burst; the result is 0, or the seconds until there are so many to take."""
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
        self._since = now
        if self._tokens < amount:
            return (amount - self._tokens) / self._rate
        self._tokens -= amount
        return 0.0


class Buckets:
    """The same rate for each of many, by any key."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._by_key: dict[Hashable, Bucket] = {}

    def take(self, key: Hashable, now: float) -> float:
        """As `Bucket.take`, of the bucket of that key."""
        if key not in self._by_key:
            self._by_key[key] = Bucket(self._rate, self._burst)
        return self._by_key[key].take(now)

    def forget(self, key: Hashable) -> None:
        self._by_key.pop(key, None)
