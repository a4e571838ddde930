"""Sampling by replicas on the nodes of a Ray cluster, each an actor that holds one of the other samplers.

    open shares --> seat of replica 0 --answer--> actor on some node --candidates, as they finish--> emit
         ^   \\--> seat of replica 1 --answer--> ...
         '--- what a replica left unanswered that died

Each replica has seats, which take shares (trainer.sampling.shares) as long as there are any: the replica that is least busy takes
the next one. A seat keeps its place until every candidate of its share was handed on, so no more is under way than there are
seats. Where an actor's process or node dies, Ray makes it anew on a node that has room, and what it had not answered is open
again; what it had answered was handed on, and is asked for no more. Whoever is made anew is told of the stage first.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import SamplerError
from trainer.language_model import LanguageModel
from trainer.records import Request
from trainer.sampling.cluster import connect, disconnect, reason, room
from trainer.sampling.replica import Forgotten, MakesSamplers, Replica
from trainer.sampling.sampler import Emit
from trainer.sampling.settings import Ray

_TRIES = 5
"""Replicas that may break over one share; then it is the share that breaks them."""
_LOOK_FOR_STOP_S = 0.1


@dataclass
class _Member:
    """One replica, which Ray makes anew when it dies."""

    actor: Any
    losses: int = 0
    """How often it was seen to be lost; the first seat to see it counts."""


class Replicas:
    """The replicas of one run, and where Ray is started for them, Ray; to be closed."""

    def __init__(
        self, settings: Ray, at_once: int, samplers: Callable[[], MakesSamplers], load: Callable[[str], LanguageModel]
    ) -> None:
        import ray

        self._is_connected_by_us = connect(settings)
        self.settings, self.at_once = settings, at_once
        actor: Any = ray.remote(Replica)
        placed = actor.options(
            num_cpus=settings.cpus, num_gpus=settings.gpus, max_restarts=settings.restarts, scheduling_strategy="SPREAD"
        )
        self.members = [_Member(placed.remote(samplers, load, at_once)) for _ in range(settings.replicas)]
        self._stages = 0

    def next_stage(self) -> int:
        """A number that no stage has had."""
        self._stages += 1
        return self._stages

    def close(self) -> None:
        """Ends the actors, also those that are sampling."""
        import ray

        for member in self.members:
            ray.kill(member.actor)
        if self._is_connected_by_us:
            disconnect()


class ReplicasSampler:
    """`share_out` says what is answered together."""

    def __init__(
        self, replicas: Replicas, path: str, stage: str, share_out: Callable[[Sequence[Request]], list[list[Request]]]
    ) -> None:
        self._replicas, self._path, self._stage, self._share_out = replicas, path, stage, share_out

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        asyncio.run(self._sample(requests, emit, stop))

    async def _sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        work = _Work(self._replicas, self._path, self._stage, requests, self._share_out(requests), emit)
        members = self._replicas.members
        seats = [asyncio.create_task(work.seat(member)) for _ in range(self._replicas.at_once) for member in members]
        all_done, left = asyncio.create_task(work.open.join()), set(seats)
        try:
            while not all_done.done() and not stop.is_set():
                if not left:
                    raise SamplerError(f"ray: none of the {len(members)} replicas is left: {seats[0].result()}")
                done, left = await asyncio.wait(left, timeout=_LOOK_FOR_STOP_S, return_when=asyncio.FIRST_EXCEPTION)
                for seat in done:
                    seat.result()
        finally:
            for task in (all_done, *seats):
                task.cancel()
            await asyncio.gather(all_done, *seats, return_exceptions=True)


@dataclass
class _Share:
    """Requests that one replica answers, by id, with their numbers; those that are answered leave."""

    unanswered: dict[str, int]
    tries: int = 0


class _Work:
    """One stage: what is open, and how a seat takes it up."""

    def __init__(
        self,
        replicas: Replicas,
        path: str,
        name: str,
        requests: Sequence[Request],
        shares: Sequence[Sequence[Request]],
        emit: Emit,
    ) -> None:
        self._settings, self._number, self._emit = replicas.settings, replicas.next_stage(), emit
        self._told = (self._number, name, path, requests)
        numbers = {request.id: number for number, request in enumerate(requests)}
        self.open: asyncio.Queue[_Share] = asyncio.Queue()
        for share in shares:
            self.open.put_nowait(_Share({request.id: numbers[request.id] for request in share}))

    async def seat(self, member: _Member) -> str:
        """Takes one share after the other; returns the reason where the replica is gone for good. Raises SamplerError."""
        from ray.exceptions import RayError

        while True:
            losses = member.losses
            if gone := await self._tell(member):
                return gone
            while member.losses == losses:
                share = await self.open.get()
                try:
                    if member.losses == losses:
                        await self._answer(member, share)
                    else:  # lost while this seat waited: it is told again before it is asked
                        self.open.put_nowait(share)
                except RayError as error:
                    if member.losses == losses:
                        _count_as_lost(member, error)
                    self._open_again(share, error)
                finally:
                    self.open.task_done()

    async def _tell(self, member: _Member) -> str:
        """The replica knows of the stage, or is gone, for the reason that is returned."""
        from ray.exceptions import RayError, RayTaskError

        try:
            telling = member.actor.take_up.options(max_task_retries=-1).remote(*self._told)
            await asyncio.wait_for(telling, self._settings.start_ms / 1000)
        except RayTaskError as error:
            raise SamplerError(f"ray: {reason(error)}") from error
        except RayError as error:
            return reason(error)
        except TimeoutError:
            return f"it was not ready within ray.start_ms ({self._settings.start_ms}); {room(self._settings)}"
        return ""

    async def _answer(self, member: _Member, share: _Share) -> None:
        async for reference in member.actor.answer.remote(self._number, list(share.unanswered.values())):
            candidate = await reference
            await asyncio.to_thread(self._emit, candidate)
            del share.unanswered[candidate.id]

    def _open_again(self, share: _Share, error: Exception) -> None:
        share.tries += 1
        if share.tries == _TRIES:
            names = ", ".join(share.unanswered)
            raise SamplerError(f"ray: {_TRIES} replicas broke over the same requests ({names}): {reason(error)}")
        self.open.put_nowait(share)


def _count_as_lost(member: _Member, error: Exception) -> None:
    """One that is alive and failed, such as one whose engine died, is ended, so that Ray makes it anew."""
    import ray
    from ray.exceptions import RayTaskError

    member.losses += 1
    if isinstance(error, RayTaskError) and not isinstance(error.cause, Forgotten):
        ray.kill(member.actor, no_restart=False)
