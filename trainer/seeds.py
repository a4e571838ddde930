"""A seed of its own for every use of chance, derived from the run's one seed: no stage depends on how another was run."""

import hashlib


def derive_seed(seed: int, *names: object) -> int:
    """63 bits that follow from the run's seed and the names of the use."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
