"""JSON to Python data: the other half of encoding.py, for bytes that a hostile process may have written.

A decoder believes nothing. Whatever is malformed raises `Malformed`; classes are only looked up in the table of
trusted ones that the `Peer` holds; nothing is called that the data names. It works in three passes, so that data may hold
itself: make every container empty, make the immutable ones in the order of what they hold, fill the others.
"""

import base64
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import functools
import keyword
import types
from collections.abc import Iterator
from typing import Any

from .encoding import BUILTIN_TYPES, NUMPY_KINDS, PATHS, PLAIN_KINDS, Peer, Row, instance_fields

_SCALARS = frozenset((type(None), bool, int, float, str))
_ODD_KEYS = 4096
"""Keys other than text and small numbers: theirs are the hashes that a program could make collide by the thousand."""
_KEY_DEPTH = 500
"""Hashing and comparing recurse, so how deep a key may be is bounded."""
_KEY_PARTS, _PLAIN_KEY_PARTS = 1 << 24, 1 << 16
"""Values in all keys together, with each one counted wherever it stands: sixty rows that hold the row before
twice are a key of 2 ** 60 values, and hashing it would never end."""


class Malformed(Exception):
    """The bytes are no encoding, or name something that is not there."""


@contextlib.contextmanager
def untrusted() -> Iterator[None]:
    """What goes wrong in here is the fault of the data: Malformed, also where a trusted class was not made for it."""
    try:
        yield
    except Malformed:
        raise
    except Exception as error:
        raise Malformed(f"{type(error).__name__}: {str(error)[:200]}") from None


class PlainData:
    """The peer of data that holds no objects: results that leave the jail."""

    classes: dict[str, type] = {}  # noqa: RUF012  # never written
    kept: frozenset[type] = frozenset()
    is_open = False

    def export(self, item: object) -> Row:
        raise TypeError(f"an object of type {type(item).__name__} is no plain data")

    def resolve(self, row: Row) -> object:
        raise Malformed("an object where only plain data may stand")


class Decoder:
    """Decodes the atoms of one table. `known` are the objects that rows of kind "known" stand for.

    With `plain`, only built-in data may stand in the table, and nothing whose comparison could be made slow.
    Raises Malformed.
    """

    def __init__(self, rows: Any, peer: Peer, known: list[Any] | None = None, *, plain: bool = False) -> None:
        if type(rows) is not list or not all(type(row) is list and row and type(row[0]) is str for row in rows):
            raise Malformed("not a table of rows")
        self.objects: list[Any] = [_UNMADE] * len(rows)
        self.rows: list[Row] = rows
        self._peer = peer
        self._known = known or []
        self._odd_keys = 0
        self._key_parts = 0
        self._sizes: dict[int, tuple[int, int]] = {}
        self._plain = plain
        with untrusted():
            self._decode()

    def value(self, atom: Any) -> Any:
        """What an atom stands for. Raises Malformed."""
        if type(atom) in _SCALARS:
            return atom
        if type(atom) is list and len(atom) == 1 and type(atom[0]) is int and 0 <= atom[0] < len(self.objects):
            return self.objects[atom[0]]
        raise Malformed("not an atom")

    def values(self, atoms: Any) -> list[Any]:
        if type(atoms) is not list:
            raise Malformed("not a list of atoms")
        return atoms if set(map(type, atoms)) <= _SCALARS else [self.value(atom) for atom in atoms]

    def fill(self, target: Any, row: Row) -> None:
        """Make an existing mutable object hold what a row says, and nothing else. Raises Malformed."""
        with untrusted():
            if row[0] == "instance":
                for name in instance_fields(target).keys() - set(row[2]):
                    object.__delattr__(target, name)
            self._fill(target, row)

    def _decode(self) -> None:
        holders = []
        for number, row in enumerate(self.rows):
            kind = row[0]
            if self._plain and kind not in PLAIN_KINDS:
                raise Malformed(f"{kind} where only plain data may stand")
            if kind in _EMPTY:
                self.objects[number] = _EMPTY[kind](self, row)
            elif kind in _HOLDING:
                holders.append(number)
            elif kind in _LEAVES:
                self.objects[number] = _LEAVES[kind](self, row)
            else:
                self.objects[number] = self._peer.resolve(row)
        if any(self.rows[number][0] == "frozenset" for number in holders):
            self._fill_instances()  # what they hold so far is enough for most hashes, and what is not made yet has none
        for number in holders:
            self._make(number)
        filled = [number for number, row in enumerate(self.rows) if row[0] in _EMPTY]
        filled.sort(key=lambda number: self.rows[number][0] != "instance")  # instances first: they may be keys
        for number in filled:
            self._fill(self.objects[number], self.rows[number])

    def _fill_instances(self) -> None:
        for number, row in enumerate(self.rows):
            if row[0] == "instance":
                self._fill(self.objects[number], row)

    def _make(self, number: int) -> None:
        """Make an immutable row once all immutable rows in it are made, without recursion."""
        stack, open_rows = [number], set()
        while stack:
            top = stack[-1]
            if self.objects[top] is not _UNMADE:
                stack.pop()
                continue
            inner = [
                atom[0]
                for atoms in self.rows[top][1:]
                if type(atoms) is list
                for atom in atoms
                if type(atom) is list and self.objects[atom[0]] is _UNMADE
            ]
            if not inner:
                self._sizes[top] = self._size(self.rows[top])
                self.objects[top] = _HOLDING[self.rows[top][0]](self, self.rows[top])
            elif top in open_rows:
                raise Malformed("an immutable value that holds itself")
            else:
                open_rows.add(top)
                stack.extend(inner)

    def _size(self, row: Row) -> tuple[int, int]:
        """How many values an immutable row holds, each wherever it stands, and how deep they lie."""
        parts, depth = 1, 0
        for atoms in row[1:]:
            if type(atoms) is list:
                inner = [self._sizes[atom[0]] for atom in atoms if type(atom) is list and atom[0] in self._sizes]
                parts += len(atoms) + sum(size for size, _ in inner)
                depth = max([depth, *(below for _, below in inner)])
        return min(parts, _KEY_PARTS + 1), depth + 1

    def _fill(self, target: Any, row: Row) -> None:
        kind = row[0]
        if kind == "bytearray":
            target[:] = base64.b64decode(row[1], validate=True)
        elif kind == "list":
            target[:] = self.values(row[1])
        elif kind == "instance":
            for name, value in zip(row[2], self.values(row[3]), strict=True):
                _set_field(target, name, value)
        elif kind == "set":
            target.clear()
            target.update(self.keys(row[1]))
        elif kind == "ndarray":
            array: Any = _numpy(self, row)
            if target.shape != array.shape:
                target.shape = array.shape
            target[...] = array
        elif kind == "deque":
            target.clear()
            target.extend(self.values(row[1]))
        else:
            target.clear()
            items = zip(self.keys(row[1]), self.values(row[2]), strict=True)
            if kind == "Counter":
                dict.update(target, items)  # its own would count the pairs
            else:
                target.update(items)
            if kind == "defaultdict":
                target.default_factory = self._factory(row[3])

    def _factory(self, atom: Any) -> Any:
        factory = self.value(atom)
        if factory is not None and not callable(factory):
            raise Malformed("a default that cannot be made")
        return factory

    def keys(self, atoms: Any) -> list[Any]:
        keys = self.values(atoms)
        sizes = [self._sizes[atom[0]] for atom in atoms if type(atom) is list and atom[0] in self._sizes]
        self._key_parts += sum(parts for parts, _ in sizes)
        if any(depth > _KEY_DEPTH for _, depth in sizes):
            raise Malformed(f"a key that is more than {_KEY_DEPTH} deep")
        if self._key_parts > (_PLAIN_KEY_PARTS if self._plain else _KEY_PARTS):
            raise Malformed("keys of too many parts")
        if not self._plain:
            return keys
        self._odd_keys += sum(1 for key in keys if type(key) is not str and not (type(key) is int and -_SMALL < key < _SMALL))
        if self._odd_keys > _ODD_KEYS:
            raise Malformed(f"more than {_ODD_KEYS} keys that are neither text nor small numbers")
        return keys


class _Unmade:
    __hash__ = None  # type: ignore[assignment]  # else it would be hashed in place of what will be made


_UNMADE: Any = _Unmade()
_VIEWS: dict[str, Any] = {"keys": dict.keys, "values": dict.values, "items": dict.items}
_SMALL = 1 << 60
_NEW = object.__new__
_SET = object.__setattr__


def _set_field(target: object, name: Any, value: object) -> None:
    if type(name) is not str or name.startswith("__"):
        raise Malformed(f"{str(name)[:40]!r} is no name of a field")
    found = found_in_class(type(target), name)
    if type(found) is functools.cached_property:  # to be computed anew
        return
    if (runs_code(found) or hides_code(found)) and name not in getattr(type(target), "__dataclass_fields__", ()):
        raise Malformed(f"{name[:40]!r} is no name of a field")
    _SET(target, name, value)


def set_free_field(target: BaseException, name: Any, value: object) -> None:
    """Set an attribute of an exception, unless its class does something with it. Notes only as what they are: text."""
    if name == "__notes__" and type(value) is list and set(map(type, value)) == {str}:
        target.__notes__ = value
    elif type(name) is str and not name.startswith("_"):
        found = found_in_class(type(target), name)
        if not runs_code(found) and not hides_code(found):
            _SET(target, name, value)


def found_in_class(kind: type, name: str) -> Any:
    """What a class or a base of it holds under a name, None where there is no such thing."""
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def runs_code(found: Any) -> bool:
    """Whether setting that attribute of a class calls something of the class, as with a property; a slot is but a place."""
    return hasattr(type(found), "__set__") and type(found) is not types.MemberDescriptorType


def hides_code(found: Any) -> bool:
    """Whether an attribute of an instance would hide a method of the class."""
    return not hasattr(type(found), "__set__") and (hasattr(type(found), "__get__") or callable(found))


def _class_named(decoder: Decoder, name: Any) -> type:
    if name not in decoder._peer.classes:
        raise Malformed(f"no class {str(name)[:40]!r} here: a program has to define what its prompt defines")
    return decoder._peer.classes[name]


def _instance(decoder: Decoder, row: Row) -> object:
    kind = _class_named(decoder, row[1])
    if issubclass(kind, enum.Enum) or not isinstance(kind, type):
        raise Malformed("not a class of instances")
    return _NEW(kind)


def _member(decoder: Decoder, row: Row) -> object:
    kind = _class_named(decoder, row[1])
    if not issubclass(kind, enum.Enum):
        raise Malformed("not an enum")
    return kind(row[2]) if issubclass(kind, enum.Flag) and type(row[2]) is int else kind[row[2]]


def _namedtuple(decoder: Decoder, row: Row) -> object:
    _, name, fields, atoms = row
    kind: Any = decoder._peer.classes.get(name)
    if kind is None or not issubclass(kind, tuple) or list(getattr(kind, "_fields", ())) != fields:
        kind = _unknown_namedtuple(name, tuple(fields))
    values = decoder.values(atoms)
    if len(values) != len(fields):
        raise Malformed("a named tuple of another length")
    return tuple.__new__(kind, values)


@functools.lru_cache(maxsize=256)
def _unknown_namedtuple(name: Any, fields: tuple[Any, ...]) -> Any:
    if not all(type(word) is str and word.isidentifier() and not keyword.iskeyword(word) for word in (name, *fields)):
        raise Malformed("not the names of a named tuple")
    return collections.namedtuple(name, fields)  # of names that were checked


def _view(decoder: Decoder, row: Row) -> object:
    [held] = decoder.values(row[1])
    if not isinstance(held, dict):
        raise Malformed("a view of something other than a dict")
    return _VIEWS[row[2]](held)


def _fraction(decoder: Decoder, row: Row) -> object:
    numerator, denominator = decoder.values(row[1])
    if type(numerator) is not int or type(denominator) is not int:
        raise Malformed("a fraction of something other than two integers")
    return fractions.Fraction(numerator, denominator)


def _numpy(decoder: Decoder, row: Row) -> object:
    import numpy  # type: ignore[import-not-found,unused-ignore]  # of the programs' environment, where they use it

    _, kind, shape, data = row
    dtype = numpy.dtype(str(kind))
    if dtype.kind not in NUMPY_KINDS:
        raise Malformed("not an array of plain data")
    array = numpy.frombuffer(base64.b64decode(data, validate=True), dtype=dtype)
    return array[0] if shape is None else array.reshape(shape).copy()


def _window(decoder: Decoder, row: Row) -> object:
    """A part of an array that shares its memory. Its bounds are checked by numpy."""
    import numpy

    [base] = decoder.values(row[1])
    dtype = numpy.dtype(str(row[2]))
    if not isinstance(base, numpy.ndarray) or {base.dtype.kind, dtype.kind} - set(NUMPY_KINDS):
        raise Malformed("a part of something other than an array of plain data")
    lies_alike = type(base) is numpy.ndarray and base.flags.c_contiguous
    memory = base if lies_alike else numpy.array(base, order="C", subok=False)
    return numpy.ndarray(row[4], dtype, memory, row[3], row[5])


def _path(decoder: Decoder, row: Row) -> object:
    import pathlib  # large, and rarely used

    if row[1] not in PATHS or type(row[2]) is not str:
        raise Malformed("not a path")
    return getattr(pathlib, row[1])(row[2])


def _uuid(decoder: Decoder, row: Row) -> object:
    import uuid  # as well

    return uuid.UUID(int=int(row[1], 16))


def _exception(decoder: Decoder, row: Row) -> object:
    kind = BUILTIN_TYPES[row[1]]
    if not issubclass(kind, Exception):
        raise Malformed("not an exception")
    error = kind(*decoder.values(row[2]))
    error.__dict__["_trace"] = ""  # as of one that was raised: whoever raises it here, it is the other side's
    return error


def _zone(offset_us: int | None) -> datetime.timezone | None:
    return None if offset_us is None else datetime.timezone(datetime.timedelta(microseconds=offset_us))


def _scalar(decoder: Decoder, row: Row) -> object:
    if type(row[1]) not in _SCALARS:
        raise Malformed("not a scalar")
    return row[1]


def _type(decoder: Decoder, row: Row) -> object:
    kind = BUILTIN_TYPES[row[1]]
    if issubclass(kind, BaseException) and not issubclass(kind, Exception) and not decoder._peer.is_open:
        raise Malformed("a class by which the tests would end themselves")
    return kind


# Kinds that may hold themselves: made empty, filled last.
_EMPTY: dict[str, Any] = {
    "list": lambda decoder, row: [],
    "set": lambda decoder, row: set(),
    "dict": lambda decoder, row: {},
    "bytearray": lambda decoder, row: bytearray(),
    "deque": lambda decoder, row: collections.deque(maxlen=row[2]),
    "OrderedDict": lambda decoder, row: collections.OrderedDict(),
    "Counter": lambda decoder, row: collections.Counter(),
    "defaultdict": lambda decoder, row: collections.defaultdict(),
    "instance": _instance,
}
# Immutable kinds that hold others; a view holds its dict, whatever that comes to hold.
_HOLDING: dict[str, Any] = {
    "tuple": lambda decoder, row: tuple(decoder.values(row[1])),
    "frozenset": lambda decoder, row: frozenset(decoder.keys(row[1])),
    "range": lambda decoder, row: range(*decoder.values(row[1])),
    "slice": lambda decoder, row: slice(*decoder.values(row[1])),
    "Fraction": _fraction,
    "exception": _exception,
    "namedtuple": _namedtuple,
    "view": _view,
    "window": _window,
}
# Kinds that hold nothing.
_LEAVES: dict[str, Any] = {
    "scalar": _scalar,
    "int": lambda decoder, row: int(row[1], 16),
    "complex": lambda decoder, row: complex(row[1], row[2]),
    "bytes": lambda decoder, row: base64.b64decode(row[1], validate=True),
    "ellipsis": lambda decoder, row: ...,
    "notimplemented": lambda decoder, row: NotImplemented,
    "Decimal": lambda decoder, row: decimal.Decimal(str(row[1])),
    "datetime": lambda decoder, row: datetime.datetime.fromisoformat(row[1]).replace(fold=row[2], tzinfo=_zone(row[3])),
    "date": lambda decoder, row: datetime.date.fromisoformat(row[1]),
    "time": lambda decoder, row: datetime.time.fromisoformat(row[1]).replace(fold=row[2], tzinfo=_zone(row[3])),
    "timedelta": lambda decoder, row: datetime.timedelta(row[1], row[2], row[3]),
    "type": _type,
    "member": _member,
    "numpy": _numpy,
    "ndarray": _numpy,
    "path": _path,
    "UUID": _uuid,
    "known": lambda decoder, row: decoder._known[row[1]],
}
MUTABLE_KINDS = frozenset(_EMPTY) | {"ndarray"}
HOLDING_KINDS = MUTABLE_KINDS | frozenset(_HOLDING)
