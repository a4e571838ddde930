"""Whether an object of the program's contains something: `3 in candidate()`.

The program may not hear of the 3, which may be what is expected. Its items tell: what they are is looked at here. But a class
says by a method of its own what it contains, and tests of the class mean that method. So the method is asked as well, where that
tells the program nothing new: of what it was handed, else of all its items where it is one of them, and of something of the same
kind that nobody looks for where it is none. Where method and items differ the tests fail.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from .proxies import Proxy

_LIKE: dict[type, object] = {int: 999_999_937, str: "nobody looks for this"}
_SCALARS = (int, float, str, bool, bytes)
_CONTAINERS = (list, tuple, set, frozenset, dict)
_MOST_TOLD, _MOST_ITEMS, _MOST_ASKED = 1 << 16, 1_000, 100


class Membership:
    """`ask` is called as `ask(op, proxy, *more)`."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self.differing = ""
        """Not empty once method and items differed."""
        self._ask = ask
        self._told: set[object] = set()

    def tell(self, values: Iterable[object]) -> None:
        """Note what the program is handed."""
        for value in values:
            if type(value) in _SCALARS and len(self._told) < _MOST_TOLD:
                self._told.add(value)
            elif isinstance(value, _CONTAINERS) and len(value) <= _MOST_ITEMS:
                self._told.update(item for item in value if type(item) in _SCALARS)

    def holds(self, proxy: Any, item: object) -> bool:
        """Raises what the program raises."""
        found = any(item is other or item == other for other in proxy)
        if isinstance(item, Proxy) or (type(item) in _SCALARS and item in self._told):
            said = bool(self._ask("contains", proxy, item))
        else:
            said = self._says_of_all(proxy) if found else self._says_of_another(proxy, item)
        if said is not found:
            self.differing = "in"
        return said

    def _says_of_all(self, proxy: Any) -> bool:
        """Not asked of more than a few: the one that is looked for would have to be among those asked of."""
        items = list(islice(proxy, _MOST_ASKED + 1))
        return len(items) > _MOST_ASKED or all(self._ask("contains", proxy, item) for item in items)

    def _says_of_another(self, proxy: Any, item: object) -> bool:
        like = _LIKE.get(type(item))
        try:
            return like is not None and bool(self._ask("contains", proxy, like))
        except Exception:  # there may be no such thing
            return False
