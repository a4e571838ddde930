"""What makes two jobs the same job."""

import hashlib

from engine.records import Job


def fingerprint(job: Job) -> str:
    """A hash over all that a job is: program, tests, limits, id. Plain data alone has a text that tells 1, 1.0 and True apart."""
    return hashlib.sha256(repr(job).encode("utf-8", "surrogatepass")).hexdigest()
