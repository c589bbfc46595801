"""How often a key may call: a bucket of requests for each. Pure, told the time."""

from attrs import define, field


@define
class _Bucket:
    left: float
    at: float


@define
class RateLimits:
    """The requests that each key has left. A bucket holds those of one second, and one at the least."""

    _buckets: dict[str, _Bucket] = field(factory=dict)

    def take(self, key: str, rate: float, now: float) -> float:
        """Take a request of `key`. Gives 0.0 if it may be made, else the seconds until the next one may be."""
        full = max(1.0, rate)
        bucket = self._buckets.setdefault(key, _Bucket(full, now))
        bucket.left = min(full, bucket.left + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.left < 1.0:
            return (1.0 - bucket.left) / rate
        bucket.left -= 1.0
        return 0.0

    def keep(self, keys: frozenset[str]) -> None:
        """Forget all keys but `keys`."""
        for key in self._buckets.keys() - keys:
            del self._buckets[key]
