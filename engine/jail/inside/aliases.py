"""Data that both sides hold on to: what one kept of what it was handed, and what it showed of what it keeps.

Data crosses as a copy. Where a side goes on holding the original, the two would drift apart, and tests would not notice that
a class changes the list that it was given, lets them change its own, or yields one list again and again. So whoever answers a
call finds out what is still held when it is over, both sides give it the next number, and every later message first tells what
has changed in it. The last few are followed, and none that is large.
"""

import collections
import operator
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .decoding import HOLDING_KINDS, MUTABLE_KINDS, Decoder, Malformed
from .encoding import Encoder, Peer, Row, instance_fields

_HANDED, _SHOWN = 128, 64
"""How many are followed of what was handed over, and of what was shown."""
_MOST_PARTS = 1_000


@dataclass(slots=True)
class _Alias:
    item: Any
    form: list[Any]
    """What a row of it begins with."""
    seen: list[Any]
    """How it looked when the two sides last agreed."""


class Aliases:
    """Those of one side. `known` are their rows: they cross as the same object from now on."""

    def __init__(self) -> None:
        self.known: dict[int, Row] = {}
        self._followed: dict[int, _Alias] = {}
        self._handed: collections.deque[int] = collections.deque(maxlen=_HANDED)
        self._shown: collections.deque[int] = collections.deque(maxlen=_SHOWN)
        self._next = 0

    def follow(self, item: Any, row: Row, *, handed: bool) -> None:
        """Raises Malformed for what cannot change."""
        if row[0] not in MUTABLE_KINDS:
            raise Malformed(f"a {str(row[0])[:40]} does not change")
        self._followed[self._next] = _Alias(item, _form(row), look(item))
        numbers = self._handed if handed else self._shown
        if len(numbers) == numbers.maxlen and numbers[0] in self._followed:
            self._let_go(numbers[0])
        numbers.append(self._next)
        self.known[id(item)] = ["shared", self._next]
        self._next += 1

    def item(self, number: Any) -> Any:
        """Raises Malformed."""
        if number not in self._followed:
            raise Malformed("an object that both sides have, by a number of none")
        return self._followed[number].item

    def edits(self, peer: Peer) -> dict[str, Any] | None:
        """What this side changed since the last message, None for nothing."""
        changed = [n for n, alias in self._followed.items() if not is_same(alias.seen, look(alias.item))]
        if not changed:
            return None
        encoder = Encoder(peer, self.known)
        try:
            contents = [[n, encoder.encode_contents(self._followed[n].item)] for n in changed]
        except TypeError:  # something in it cannot cross
            return None
        self._agree(contents, encoder.rows, encoder.objects)
        return {"contents": contents, "rows": encoder.rows}

    def take(self, edits: dict[str, Any] | None, peer: Peer) -> None:
        """Change what the other side changed. Raises Malformed."""
        if edits is None:
            return
        decoder = Decoder(edits["rows"], peer)
        for number, row in edits["contents"]:
            alias = self._followed.get(number)
            if alias is None or _form(row) != alias.form:
                raise Malformed("a change of what cannot have changed")
            decoder.fill(alias.item, row)
        self._agree(edits["contents"], decoder.rows, decoder.objects)

    def _agree(self, contents: list[Any], rows: list[Any], objects: list[Any]) -> None:
        """On both sides, once they hold the same: what has grown large is let go, and what came into it is followed."""
        for number, row in contents:
            if _size(row) <= _MOST_PARTS:
                self._followed[number].seen = look(self._followed[number].item)
            else:
                self._let_go(number)
        for row, item in zip(rows, objects, strict=True):
            if row[0] in MUTABLE_KINDS and _size(row) <= _MOST_PARTS:
                self.follow(item, row, handed=False)

    def _let_go(self, number: int) -> None:
        self.known.pop(id(self._followed.pop(number).item), None)


class Holds:
    """Finds what of the objects of a call is still held by somebody once the call is over, by counting references."""

    def __init__(self, objects: list[Any], rows: list[Row]) -> None:
        can_change = any(row[0] in MUTABLE_KINDS for row in rows)
        self._watched = [(n, objects[n]) for n in _holders(rows)] if can_change else []
        self._rows = rows
        self._counts = self._counted()

    def of_the_arguments(self, reply: Encoder) -> list[int]:
        """Numbers of rows of the request that can change, of what is held and of what lies in it."""
        more = [
            (n, item, now - was)
            for (n, item), was, now in zip(self._watched, self._counts, self._counted(), strict=True)
            if now > was
        ]
        if not more:
            return []
        own = _own_references(reply)
        held = [n for n, item, references in more if references > own.get(id(item), 0)]
        return _followable(_reached(held, self._rows), self._rows)[:_HANDED]

    def _counted(self) -> list[int]:
        return [sys.getrefcount(item) for _, item in self._watched]


def held_in(reply: Encoder) -> list[int]:
    """Numbers of rows of a reply that can change: none, unless the program still holds something in it."""
    rows: list[Row] = [row or [""] for row in reply.rows]
    if not rows or len(rows) > _MOST_PARTS or not any(row[0] in MUTABLE_KINDS for row in rows):
        return []
    own = _own_references(reply) if len(rows) > 1 else {id(reply.objects[0]): 1}
    if all(sys.getrefcount(reply.objects[n]) <= _COUNTING + own[id(reply.objects[n])] for n in _holders(rows)):
        return []
    return _followable(range(len(rows)), rows)


def _holders(rows: list[Row]) -> list[int]:
    """What changes, or holds something that does."""
    return [n for n, row in enumerate(rows) if row[0] in MUTABLE_KINDS or (row[0] in HOLDING_KINDS and _within(row))]


def _followable(numbers: Iterable[int], rows: list[Row]) -> list[int]:
    return [n for n in numbers if rows[n][0] in MUTABLE_KINDS and _size(rows[n]) <= _MOST_PARTS]


def _reached(numbers: list[int], rows: list[Row]) -> list[int]:
    """Those rows and all that lie in them, what is outside first."""
    found = list(numbers)
    seen = set(found)
    for number in found:  # which grows
        within = [inner for inner in dict.fromkeys(_within(rows[number])) if inner not in seen]
        seen.update(within)
        found += within
    return found


def _within(row: Row) -> list[int]:
    """The rows to which a row refers; what is large is not looked into."""
    parts = [part for part in row[1:] if type(part) is list and len(part) <= _MOST_PARTS]
    return [atom[0] for part in parts for atom in part if type(atom) is list and len(atom) == 1]


_PROBE = [object()]
_COUNTING = sys.getrefcount(_PROBE[0]) - len(_PROBE)
"""References that the counting itself takes."""


def _own_references(reply: Encoder) -> dict[int, int]:
    """How often the encoder of a reply, and what it encoded, refer to each object, by id."""
    within = collections.Counter(inner for row in reply.rows if row for inner in _within(row))
    return {id(item): 1 + within[n] for n, item in enumerate(reply.objects)}


def _form(row: Row) -> list[Any]:
    return row[:2] if row[0] == "instance" else row[:1]


def _size(row: Row) -> int:
    return sum(len(part) for part in row[1:] if isinstance(part, list | str))


def look(item: Any) -> list[Any]:
    """The parts of a mutable object now, to tell by identity later whether it was changed."""
    if isinstance(item, list):
        return list.copy(item)
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, bytearray):
        return [bytes(item)]
    if type(item).__module__ == "numpy":
        return [str(item.shape).encode() + item.tobytes()]
    if isinstance(item, (set, collections.deque)):
        return list(item)
    return [part for pair in instance_fields(item).items() for part in pair]


def is_same(before: list[Any], after: list[Any]) -> bool:
    """Whether nothing was changed between two looks."""
    if len(before) != len(after):
        return False
    if len(before) == 1 and type(before[0]) is bytes:
        return bool(before[0] == after[0])
    return all(map(operator.is_, before, after))
