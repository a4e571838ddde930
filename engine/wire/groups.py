"""What waits to be written to a stream, and how much of it goes into one message.

A message of a stream costs its sender and its reader as much as many small requests or responses do, so what has gathered goes
out together. A group has bounds, so that the other side can begin with its first one soon, and one that is large goes alone,
so that no group is larger than a message may be.
"""

from collections import deque
from typing import Protocol

from engine.records import MIB

GROUP_LENGTH = 32
GROUP_BYTES = MIB


class Sized(Protocol):
    """A message, as far as grouping needs to know it."""

    def ByteSize(self) -> int:  # noqa: N802  # protobuf's name
        ...


class Outbox[M: Sized]:
    """Messages in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[M, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether there is enough for a group, so that waiting for more makes no message fewer."""
        return len(self._waiting) >= GROUP_LENGTH or self._bytes >= GROUP_BYTES

    def put(self, message: M) -> None:
        size = message.ByteSize()
        self._waiting.append((message, size))
        self._bytes += size

    def take(self) -> list[M]:
        """The next group, which is empty only where nothing waits."""
        group: list[M] = []
        taken = 0
        while self._waiting and len(group) < GROUP_LENGTH:
            message, size = self._waiting[0]
            if group and taken + size > GROUP_BYTES:
                break
            group.append(message)
            taken += size
            self._waiting.popleft()
        self._bytes -= taken
        return group
