"""What the tests saw when they last looked at an object of the program's, so that it is the same at every look.

Tests may look several times at what a function gave: whether it is sorted, whether it holds the right items, what a formula makes
of it as a float. Data cannot answer each look differently; an object could, and fit them all. So one answer stands until the
program is asked for something else than a look, since nothing should have changed before. Attributes are no looks: reading one
may count.
"""

from collections.abc import Callable, Iterator
from typing import Any

from .proxies import Proxy

LOOKS = frozenset({"bool", "int", "float", "complex", "index", "len", "str", "repr", "hash", "getitem", "iter"})
_KEYS = (bool, int, str)


class Seen:
    """The answers of now. `ask` is called as `ask(op, proxy, *more)` for those that are not there yet."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask
        self._answers: dict[tuple[object, ...], Any] = {}
        self._items: dict[int, _Items] = {}

    def forget(self) -> None:
        self._answers.clear()
        self._items.clear()

    def look(self, op: str, proxy: Proxy, *more: Any) -> Any:
        """Raises what the program raises."""
        if op == "iter":
            return self._iterator(proxy)
        if any(type(item) not in _KEYS for item in more):
            return self._ask(op, proxy, *more)
        key = (op, id(proxy), *((type(item), item) for item in more))
        if key not in self._answers:
            self._answers[key] = self._ask(op, proxy, *more)
        return self._answers[key]

    def _iterator(self, proxy: Proxy) -> Any:
        if id(proxy) not in self._items:
            source = self._ask("iter", proxy)
            if source is proxy:  # an iterator, which is looked at once
                return source
            self._items[id(proxy)] = _Items(lambda: self._next(source))
        return _Replay(self._items[id(proxy)])

    def _next(self, source: object) -> Any:
        self._answers.clear()  # an object may have less in it with each item that it gives
        return self._ask("next", source)


class _Items:
    """What an iterator of the program's gave so far, and gives further on."""

    def __init__(self, more: Callable[[], Any]) -> None:
        self._more = more
        self._items: list[Any] = []

    def item(self, index: int) -> Any:
        """Raises StopIteration behind the last one, and what the program raises."""
        if index == len(self._items):
            self._items.append(self._more())
        return self._items[index]


class _Replay:
    """An iterator over items, of which there may be several."""

    def __init__(self, items: _Items) -> None:
        self._items = items
        self._index = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = self._items.item(self._index)
        self._index += 1
        return item
