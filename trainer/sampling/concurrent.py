"""Many requests under way at once, for samplers that wait for something else to compute."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

from trainer.records import Candidate, Request
from trainer.sampling.sampler import Emit

_LOOK_FOR_STOP_S = 0.1


async def answer_each(
    requests: Sequence[Request],
    answer: Callable[[Request], Awaitable[Candidate]],
    emit: Emit,
    stop: threading.Event,
    at_once: int,
) -> None:
    """Emits the answer to every request without one, at most `at_once` under way; cancels them where one fails or `stop` is set.

    A request holds its place until its candidate was taken, so whoever is slow slows the sampling down.
    """
    unanswered = [request for request in requests if not request.sampled]
    waiting = iter(unanswered)

    async def work() -> None:
        for request in waiting:
            candidate = await answer(request)
            await asyncio.to_thread(emit, candidate)

    workers = {asyncio.ensure_future(work()) for _ in range(min(at_once, len(unanswered)))}
    pending = workers
    try:
        while pending and not stop.is_set():
            done, pending = await asyncio.wait(pending, timeout=_LOOK_FOR_STOP_S, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                worker.result()
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
