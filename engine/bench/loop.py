"""One event loop for all measurements: gRPC keeps speaking to a loop that it once knew, also when that is closed."""

import asyncio
from collections.abc import Coroutine
from functools import cache
from typing import Any


@cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, but always in the same loop."""
    return _runner().run(work)
