"""How sure a mean over tasks is: percentile bootstrap, drawing the tasks anew."""

import random
from collections.abc import Sequence


def interval(values: Sequence[float], *, draws: int = 1000, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Where the mean lies with that confidence, the same for the same values; all of 0 to 0 where there are none."""
    if not values:
        return 0.0, 0.0
    chance, count = random.Random(seed), len(values)
    means = sorted(sum(chance.choices(values, k=count)) / count for _ in range(draws))
    outside = round(draws * (1 - level) / 2)
    return means[outside], means[-1 - outside]
