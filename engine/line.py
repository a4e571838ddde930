"""The line in front of the slots: clients take turns, and each client's own jobs keep their order.

So a client with thousands of jobs in line does not make another one with a single job wait for them all. Who comes back, since
a slot broke under its job, goes ahead of everybody.
"""

from collections import OrderedDict, deque


class Line[P]:
    """Places of any kind, by the name of the client that they belong to."""

    def __init__(self) -> None:
        self._ahead: deque[P] = deque()
        self._of_client: OrderedDict[str, deque[P]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def holds(self, client: str) -> bool:
        """Whether the client has a place that it did not come back to."""
        return client in self._of_client

    def others_wait(self, client: str) -> bool:
        """Whether anybody but that client is in line."""
        return bool(self._ahead) or len(self._of_client) > self.holds(client)

    def join(self, place: P, client: str) -> None:
        """Behind the client's other places."""
        self._of_client.setdefault(client, deque()).append(place)
        self._waiting += 1

    def join_first(self, place: P, client: str) -> None:
        """Ahead of the client's other places."""
        self._of_client.setdefault(client, deque()).appendleft(place)
        self._waiting += 1

    def join_ahead(self, place: P) -> None:
        """Ahead of everybody."""
        self._ahead.appendleft(place)
        self._waiting += 1

    def pop(self) -> P:
        """The next place; its client's next turn comes after those of the others. Raises LookupError where nobody waits."""
        if self._ahead:
            place = self._ahead.popleft()
        else:
            client, places = self._of_client.popitem(last=False)
            place = places.popleft()
            if places:
                self._of_client[client] = places
        self._waiting -= 1
        return place

    def leave(self, place: P, client: str) -> bool:
        """Whether the place was still in line, which it is no longer."""
        places = self._ahead if place in self._ahead else self._of_client.get(client, deque())
        if place not in places:
            return False
        places.remove(place)
        self._waiting -= 1
        if not self._of_client.get(client, True):
            del self._of_client[client]
        return True
