"""Medians and spreads. Pure."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from attrs import frozen


@frozen
class Spread:
    """A median with the two quartiles beside it: half of all rounds lie between them."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2, unit: str = "") -> str:
        """`0.98 (0.97-1.01)`, or `0.98` where all values are the same."""
        median, low, high = (
            f"{round(value, digits) + 0.0:,.{digits}f}" for value in (self.median, self.low, self.high)
        )
        return f"{median}{unit}" if self.low == self.high else f"{median}{unit} ({low}-{high})"


def spread(values: Iterable[float]) -> Spread:
    """That of `values`, of which there must be one at least."""
    found = list(values)
    if len(found) < 2:
        return Spread(found[0], found[0], found[0])
    # Inclusive: the other way extrapolates, and would tell of quartiles beyond everything that was measured.
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return Spread(median, low, high)


def ratios(costs: Sequence[float], of: Sequence[float]) -> Spread:
    """Round by round: what disturbs the machine for longer than one round is in both numbers, and falls out."""
    return spread(cost / other for cost, other in zip(costs, of, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed: one that was measured, not one between two."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def rises(points: Mapping[float, float], factor: float = 1.25) -> Iterator[tuple[float, float, float]]:
    """From where to where a cost a piece rises by more than `factor`, and by how much.

    A cost a piece that stays is a cost that grows as the number does; where it rises, the whole grows faster.
    """
    for (before, low), (after, high) in pairwise(sorted(points.items())):
        if low > 0 and high > factor * low:
            yield before, after, high / low
