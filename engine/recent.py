"""What was used last, as much of it as there is room for."""

from collections import OrderedDict
from collections.abc import Hashable


class Recent[K: Hashable, V]:
    """Keeps values of a given size until newer ones need their room. What is larger than all the room is not kept."""

    def __init__(self, room_bytes: int) -> None:
        self._room = room_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def keep(self, key: K, value: V, size_bytes: int) -> None:
        """The first one of a key stays."""
        if key not in self._kept:
            self._kept[key] = value, size_bytes
            self._room -= size_bytes
        while self._room < 0:
            _, (_, oldest_bytes) = self._kept.popitem(last=False)
            self._room += oldest_bytes
