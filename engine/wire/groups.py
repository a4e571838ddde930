"""What waits to be written to a stream, how long, and how much of it goes into one message.

    put -> outbox -> group -> one message of the stream

A message of a stream costs its sender and its reader as much as many small requests or responses do, so what has gathered goes
out together. Whoever puts something in says whether it is in a hurry. What is not waits for company, but no longer than the
outbox was told. A group has bounds, so that the other side can begin with its first one soon, and one that is large goes alone,
so that no group is larger than a message may be.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from engine.records import MIB

GROUP_LENGTH = 32
GROUP_BYTES = MIB


class Sized(Protocol):
    """A message, as far as grouping needs to know it."""

    def ByteSize(self) -> int:  # protobuf's name
        ...


class Outbox[M: Sized]:
    """Messages in the order in which they came, for one writer."""

    def __init__(self, *, gather_ms: float) -> None:
        self._gather_s = gather_ms / 1000
        self._waiting: deque[tuple[M, int]] = deque()
        self._bytes = 0
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: M, *, hurry: bool) -> None:
        """Adds a message. In a hurry, it and all that waits are due now; else when there are enough, or after the time."""
        size = message.ByteSize()
        self._waiting.append((message, size))
        self._bytes += size
        if hurry or len(self._waiting) >= GROUP_LENGTH or self._bytes >= GROUP_BYTES:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather_s, self._due.set)

    def exchange(self, change: Callable[[M], M]) -> None:
        """Each message that waits for what that makes of it."""
        changed = [change(message) for message, _ in self._waiting]
        self._waiting = deque((message, message.ByteSize()) for message in changed)
        self._bytes = sum(size for _, size in self._waiting)

    def flush(self) -> None:
        """Makes `group` return, whether anything waits or not."""
        self._due.set()

    async def group(self) -> list[M]:
        """The next group once it is due, empty where nothing waits at a flush."""
        await self._due.wait()
        group = self._take()
        if not self._waiting:
            self._due.clear()
            self.close()
        return group

    def close(self) -> None:
        """Nothing more becomes due by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self) -> list[M]:
        group: list[M] = []
        taken = 0
        while self._waiting and len(group) < GROUP_LENGTH:
            message, size = self._waiting[0]
            if group and taken + size > GROUP_BYTES:
                break
            self._waiting.popleft()
            group.append(message)
            taken += size
        self._bytes -= taken
        return group
