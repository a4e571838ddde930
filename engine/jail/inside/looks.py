"""What the tests saw when they last looked at an object of the program's: it is to be the same at every look.

Tests may look several times at what a function gave: whether it is sorted, whether it holds the right items, what a formula
makes of it as a float. Data cannot answer each look differently; an object could, and fit them all. So the program is asked
each time, and an answer that differs from the one before fails the tests in the end, unless something else than a look was
asked for in between, which may have changed the object. Attributes are no looks: reading one may count. Reading an item may do
so as well, though not to that item itself: a cache moves what is read.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from .encoding import Encoder, Peer, Row
from .proxies import Proxy

_AS_NUMBER = {"bool", "int", "float", "complex", "index", "abs", "round", "neg", "pos", "invert", "floor", "ceil", "trunc"}
LOOKS = frozenset({*_AS_NUMBER, "str", "repr", "format", "hash", "len", "getitem", "iter"})
_KEYS = (bool, int, str)
_END = ""


class Seen:
    """The answers of now. `ask` is called as `ask(op, proxy, *more)`; `peer` is the one that tells data from objects."""

    def __init__(self, ask: Callable[..., Any], peer: Peer) -> None:
        self.differing = ""
        """The look that was answered in two ways, if any."""
        self._ask = ask
        self._peer = peer
        self._answers: dict[tuple[object, ...], str] = {}
        self._items: dict[int, _Items] = {}
        self._passes: dict[int, _Passes] = {}
        self._lengths: dict[int, int] = {}
        self._arrays: dict[tuple[object, ...], str] = {}
        self._begun_last: int | None = None
        """Whose iterator was asked for just now."""
        self._changes: list[None] = []
        self._window = 0

    def forget(self) -> None:
        self._answers.clear()
        self._arrays.clear()
        self._passes.clear()
        self._begun_last = None
        self._forget_items()

    def begin_change(self) -> None:
        """The program does something else from here on; what other threads of the tests see meanwhile may differ."""
        self._changes.append(None)
        self.forget()

    def end_change(self) -> None:
        self.forget()
        self._changes.pop()

    def _forget_items(self) -> None:
        self._items.clear()
        self._lengths.clear()
        self._window += 1

    def look(self, op: str, proxy: Proxy, *more: Any) -> Any:
        """Raises what the program raises."""
        window = self._window
        is_hint = op == "len" and self._begun_last == id(proxy)  # list() asks how much room to make
        self._begun_last = id(proxy) if op == "iter" else None
        answer = self._ask(op, proxy, *more)
        if op == "iter":
            return self._begun(proxy) if answer is proxy else self._watched(proxy, answer)
        if window != self._window or self._changes:
            return answer
        if op == "getitem":
            self._answers = {key: seen for key, seen in self._answers.items() if key[0] == op}
            self._forget_items()
        if all(type(item) in _KEYS for item in more):
            key = (op, id(proxy), *((type(item), item) for item in more))
            form = self._form(answer)
            self._compare(op, self._answers.setdefault(key, form), form)
        if op == "len" and type(answer) is int and not is_hint:
            self._measured(proxy, answer)
        return answer

    def _measured(self, proxy: Proxy, length: int) -> None:
        shrinks = self._lengths.setdefault(id(proxy), length) != length
        self._lengths[id(proxy)] = 0 if shrinks else length
        self._count(id(proxy))
        if (passes := self._passes.get(id(proxy))) is not None:
            passes.given = 0

    def array_method(self, proxy: Proxy) -> Callable[..., Any]:
        """An object's `__array__`, by which numpy looks at it. Raises AttributeError where it has none."""
        method = self._ask("getattr", proxy, "__array__")

        def as_array(*args: object, **kwargs: object) -> Any:
            array = self._ask("call", method, *args, **kwargs)
            form = self._form(array)
            if (length := self._lengths.get(id(proxy))) and length not in _sizes(array):
                self.differing = self.differing or "len"
            self._compare("array", self._arrays.setdefault((id(proxy), repr((args, kwargs))), form), form)
            return array

        return as_array

    def next(self, items: "_Items") -> Any:
        """Raises what the program raises, StopIteration at the end."""
        self._answers.clear()  # an object may have less in it with each item that it gives
        self._begun_last = None
        try:
            item = self._ask("next", items.source)
        except StopIteration:
            self._note(items, _END)
            raise
        self._note(items, self._form(item))
        items.index += 1
        return item

    def is_read(self, proxy: Proxy) -> bool:
        """Whether its next item is one of those that it gives as its own iterator."""
        return id(proxy) in self._passes

    def next_of_its_own(self, proxy: Proxy) -> Any:
        """As `next`."""
        self._answers.clear()
        self._begun_last = None
        try:
            item = self._ask("next", proxy)
        except StopIteration:
            self._note_of_its_own(proxy, _END)
            raise
        self._note_of_its_own(proxy, self._form(item))
        return item

    def _note_of_its_own(self, proxy: Proxy, form: str) -> None:
        passes = self._passes.get(id(proxy))
        if passes is None or self._changes:
            return
        if not passes.note(form, self._lengths.get(id(proxy))):
            self.differing = self.differing or "next"

    def _begun(self, proxy: Proxy) -> Proxy:
        passes = self._passes.setdefault(id(proxy), _Passes())
        passes.index = 0
        return proxy

    def _watched(self, proxy: Proxy, source: object) -> "_Items":
        last = self._items.get(id(proxy))
        if last is None or last.source is not source:  # else it goes on where it was
            last = self._items[id(proxy)] = _Items(self, self._window, id(proxy), source, last.seen if last else [])
        return last

    def _note(self, items: "_Items", form: str) -> None:
        if items.window != self._window or self._changes:
            return
        if items.index == len(items.seen):
            items.seen.append(form)
        self._compare("iter", items.seen[items.index], form)
        self._count(items.owner)

    def _count(self, owner: int) -> None:
        """An object has as many items as it says."""
        items, length = self._items.get(owner), self._lengths.get(owner)
        if items and length:  # 0: it gave them away
            has_ended = items.seen[-1:] == [_END]
            count = len(items.seen) - has_ended
            self.differing = self.differing or ("len" if count > length or (has_ended and count < length) else "")

    def _compare(self, op: str, before: str, now: str) -> None:
        if before != now:
            self.differing = self.differing or op

    def _form(self, answer: object) -> str:
        """The same for equal data; what is no data differs from all data, and not from each other."""
        encoder = Encoder(_Objects(self._peer))
        return repr((encoder.encode(answer), encoder.rows))


def _sizes(array: Any) -> tuple[int, ...]:
    """What the length of something that is this array may be."""
    shape = getattr(array, "shape", None) or (0,)
    return shape[0], math.prod(shape)


class _Items:
    """An iterator of the program's, `source`, that is watched; `seen` is what those of its object gave in that `window`."""

    def __init__(self, watching: Seen, window: int, owner: int, source: object, seen: list[str]) -> None:
        self.window = window
        self.owner = owner
        self.source = source
        self.seen = seen
        self.index = 0
        self._watching = watching

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._watching.next(self)


class _Passes:
    """What an object that is its own iterator gave. It may go on where it was, or begin again: not do neither."""

    def __init__(self) -> None:
        self.index = 0
        self.given = 0
        """Items since the object last told its length."""
        self._seen: list[str] = []
        self._has_ended = False
        self._goes_on = self._begins_again = True

    def note(self, form: str, length: int | None) -> bool:
        """Whether that may come next from one that has so many items in all, or left; None where it did not say."""
        is_end, had_ended = form == _END, self._has_ended
        self._goes_on &= is_end or not had_ended
        self._has_ended |= is_end
        if self.index == len(self._seen):
            self._seen.append(form)
        self._begins_again &= self._seen[self.index] == form
        self.index += not is_end
        self.given += not is_end
        is_whole = not length or (had_ended or length in (self.given, self.index) if is_end else self.given <= length)
        return is_whole and (self._goes_on or self._begins_again)


class _Objects:
    """The peer of an encoder for which all objects are one."""

    kept: frozenset[type] = frozenset()
    is_open = False

    def __init__(self, peer: Peer) -> None:
        self.classes = peer.classes

    def export(self, item: object) -> Row:
        return ["object"]

    def resolve(self, row: Row) -> object:
        raise NotImplementedError
