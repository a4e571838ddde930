"""From repeated measurements to numbers that can be quoted: medians with their spread, percentiles, growth."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median of some rounds with the lowest and the highest of them."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Such as "0.82 (0.80-0.85)"; a single round has no spread to show."""
        if self.low == self.high:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def spread(values: Iterable[float]) -> Spread:
    """Of at least one value. Raises ValueError for none."""
    known = sorted(values)
    if not known:
        raise ValueError("nothing was measured")
    return Spread(statistics.median(known), known[0], known[-1])


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Round by round: what slows the machine for a while slows both, so it cancels within a round but not across rounds."""
    return spread(our / their for our, their in zip(ours, theirs, strict=True))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank). Raises ValueError for no values."""
    known = sorted(values)
    if not known:
        raise ValueError("nothing was measured")
    return known[max(0, math.ceil(share * len(known)) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The exponent of growth: least squares through (log size, log cost). 1 is linear, 0 is no growth.

    A constant cost hides the growth of small sizes, so give it the large ones. Raises StatisticsError below two points.
    """
    sizes, costs = zip(*((math.log(size), math.log(cost)) for size, cost in points), strict=True)
    return statistics.linear_regression(sizes, costs).slope


def upper_half(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """The larger sizes, at least two of them, in their order."""
    return sorted(points)[-max(2, (len(points) + 1) // 2) :]
