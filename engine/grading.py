"""From verdicts to numbers: counts per verdict and the unbiased pass@k of each problem.

An infrastructure error says nothing about a program, so it is counted but is neither a pass nor a failure.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

from engine.records import Trust, Verdict

KS = (1, 10, 100)


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The probability that at least one of k samples passes, estimated from `passed` of `samples` >= k.

    1 - C(n - c, k) / C(n, k), the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374, equation 1), as a product.
    """
    return 1.0 - math.prod((samples - passed - index) / (samples - index) for index in range(k))


class Tally:
    """Verdicts so far."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.delegated = 0
        """Passes that rest on what objects of the programs said of themselves (`Trust.EXAMINED_DELEGATED`)."""
        self._samples: defaultdict[str, Counter[Verdict]] = defaultdict(Counter)

    def add(self, task_id: str, verdict: Verdict, trust: Trust) -> None:
        self.verdicts[verdict] += 1
        self.delegated += verdict is Verdict.PASSED and trust is Trust.EXAMINED_DELEGATED
        if verdict is not Verdict.INFRASTRUCTURE_ERROR:
            self._samples[task_id][verdict] += 1

    @property
    def programs(self) -> int:
        return self.verdicts.total()

    @property
    def passed(self) -> int:
        return self.verdicts[Verdict.PASSED]

    @property
    def tasks(self) -> int:
        """Tasks with at least one verdict on a program."""
        return len(self._samples)

    def pass_at(self, ks: Iterable[int] = KS) -> dict[int, float]:
        """The mean pass@k over the tasks, for every k for which each task has enough samples."""
        least = min((counts.total() for counts in self._samples.values()), default=0)
        return {
            k: math.fsum(pass_at_k(counts.total(), counts[Verdict.PASSED], k) for counts in self._samples.values()) / self.tasks
            for k in ks
            if k <= least
        }
