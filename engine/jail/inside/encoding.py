"""Python data to JSON, in a closed set of types.

Data is a graph: one list may stand in two places, and may hold itself. So an encoding is a flat table with one row per
container and object, and *atoms* that stand for values:

    atom     null, true, 1, 1.5 and "text" stand for themselves, [n] stands for row n of the table
    row      [kind, ...], see decoding.py for the kinds

Nothing here recurses, so the depth of the data does not matter. Only exact types cross as data: a subclass of a built-in
type arrives as the built-in value that it holds, read with the built-in type's own methods, unless its class is one that
the other side makes objects of. What is no data is *exported*: the encoder asks its `Peer` for a row that stands for the object.
"""

import base64
import builtins
import collections
import datetime
import decimal
import enum
import fractions
import gc
import sys
from collections.abc import Set
from typing import Any, Protocol

type Row = list[Any]

PLAIN_KINDS = frozenset(("list", "tuple", "set", "frozenset", "dict", "bytearray", "scalar", "int", "complex", "bytes"))
"""Kinds of built-in data: all that may leave a jail."""
NUMPY_KINDS = "biufcSUmM"
_SMALL_ARRAY_BYTES = _SMALL_DICT = 1_000
PATHS = frozenset(("PurePath", "PurePosixPath", "PureWindowsPath", "PosixPath"))
BUILTIN_TYPES = {name: item for name, item in vars(builtins).items() if isinstance(item, type)}
_HUGE = 1 << 256
_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: a class that Python code made."""
_PLAIN_SCALARS = frozenset((type(None), bool, float, str))


class Peer(Protocol):
    """What a codec asks about the conversation that the data belongs to."""

    classes: dict[str, type]
    """Classes whose instances cross by value, by name: those of the trusted prompt."""

    @property
    def kept(self) -> Set[type]:
        """Classes whose instances stay where they are, although they are subclasses of a built-in type."""

    @property
    def is_open(self) -> bool:
        """Whether the other side may see the whole of what a part or a view crosses of: a program's, not the tests'."""

    def export(self, item: object) -> Row:
        """A row that stands for an object that is no data. Raises TypeError where no objects may cross."""

    def resolve(self, row: Row) -> object:
        """What such a row of the other side stands for here. Raises Malformed."""


class Encoder:
    """Encodes values into one table, `rows`. `known` gives the rows of objects that the other side has already.

    With `plain`, what is no built-in data raises TypeError.
    """

    def __init__(self, peer: Peer, known: dict[int, Row] | None = None, *, plain: bool = False) -> None:
        self.rows: list[Row | None] = []
        self.objects: list[object] = []
        self._peer = peer
        self._plain = plain
        self._known = known or {}
        self._row_of: dict[int, int] = {}
        self._pending: list[int] = []
        self._opened: object = None

    def encode(self, value: object) -> Any:
        """The atom of a value. Raises TypeError where something in it cannot cross."""
        atom = self.atom(value)
        self._finish()
        return atom

    def encode_contents(self, value: object) -> Row:
        """The row of an object as it is now, also when the other side has that object."""
        self._opened = value
        row = self._row(value)
        self._opened = None
        self._finish()
        return row

    def atom(self, value: object) -> Any:
        kind = type(value)
        if kind in _PLAIN_SCALARS or (kind is int and -_HUGE < value < _HUGE):  # type: ignore[operator]  # an int here
            return value
        number = self._row_of.get(id(value))
        if number is None:
            number = self._row_of[id(value)] = len(self.rows)
            self.objects.append(value)  # also keeps the id from being given to another object
            self.rows.append(self._known.get(id(value)))
            if self.rows[number] is None:
                self._pending.append(number)
        return [number]

    def shows_base_of(self, array: Any) -> bool:
        """Whether the array of which this one is a part crosses with it, so that a change of one changes the other."""
        may_show = self._peer.is_open and array.base.nbytes <= _SMALL_ARRAY_BYTES
        return array is not self._opened and (may_show or self._crosses(array.base))

    def dict_of(self, view: Any) -> Any:
        """The dict behind a view, None where the other side does not know it and may not see all of it, or it is large or odd."""
        [held] = gc.get_referents(view)
        may_show = self._peer.is_open and len(held) <= _SMALL_DICT and type(held) in _WRITERS
        return held if may_show or self._crosses(held) else None

    def _crosses(self, item: object) -> bool:
        """Whether the other side has it already, or will have it with this message."""
        return id(item) in self._row_of or id(item) in self._known

    def atoms(self, values: Any) -> list[Any]:
        items = list(values)
        kinds = set(map(type, items))
        if kinds <= _PLAIN_SCALARS or (kinds == {int} and max(items) < _HUGE and min(items) > -_HUGE):
            return items
        return [self.atom(item) for item in items]

    def _finish(self) -> None:
        while self._pending:
            number = self._pending.pop()
            row = self.rows[number] = self._row(self.objects[number])
            if self._plain and row[0] not in PLAIN_KINDS:
                raise TypeError(f"an object of type {type(self.objects[number]).__name__} is no plain data")

    def _row(self, value: Any) -> Row:
        kind = type(value)
        if (writer := _WRITERS.get(kind)) is not None:
            row: Row = writer(self, value)
            return row
        if self._peer.classes.get(kind.__name__) is kind and (issubclass(kind, enum.Enum) or _is_made_empty(kind)):
            return self._instance(value)
        if (library := _LIBRARIES.get(str(getattr(kind, "__module__", "")).partition(".")[0])) and (
            found := library(self, value)
        ) is not None:
            return found
        if issubclass(kind, tuple) and isinstance(fields := getattr(kind, "_fields", None), tuple):
            return ["namedtuple", kind.__name__, list(fields), self.atoms(tuple.__iter__(value))]
        if isinstance(value, type) and BUILTIN_TYPES.get(value.__name__) is value:
            return ["type", value.__name__]
        if issubclass(kind, BaseException) and BUILTIN_TYPES.get(kind.__name__) is kind:
            return ["exception", kind.__name__, self.atoms(value.args)]
        for base, exact in _EXACT.items():
            if issubclass(kind, base) and kind not in self._peer.kept:
                held = exact(value)
                return ["scalar", held] if base in (float, str) else _WRITERS[base](self, held)
        return self._peer.export(value)

    def _instance(self, value: Any) -> Row:
        kind = type(value)
        if isinstance(value, enum.Enum):
            return ["member", kind.__name__, value.value if isinstance(value, enum.Flag) else value.name]
        fields = instance_fields(value)
        return ["instance", kind.__name__, list(fields), self.atoms(fields.values())]


def _is_made_empty(kind: type) -> bool:
    """Whether an instance is no more than its attributes: no built-in but `object` is among the bases."""
    return all(base.__flags__ & _HEAP_TYPE for base in kind.__mro__ if base is not object)


def instance_fields(value: object) -> dict[str, object]:
    """The attributes that an instance holds itself, in __dict__ and in slots."""
    fields = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                fields[name] = getattr(value, name)
    return fields


def _numpy_row(encoder: Encoder, value: Any) -> Row | None:
    numpy = sys.modules["numpy"]
    if not isinstance(value, (numpy.ndarray, numpy.generic)) or value.dtype.kind not in NUMPY_KINDS:
        return None
    data = base64.b64encode(numpy.ascontiguousarray(value).tobytes()).decode()
    if isinstance(value, numpy.generic):
        return ["numpy", value.dtype.str, None, data]
    base = value.base
    is_plain = type(base) is numpy.ndarray and base.dtype.kind in NUMPY_KINDS and base.flags.c_contiguous
    if is_plain and encoder.shows_base_of(value):
        offset = value.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        return ["window", [encoder.atom(base)], value.dtype.str, offset, list(value.shape), list(value.strides)]
    return ["ndarray", value.dtype.str, list(value.shape), data]


def _path_row(encoder: Encoder, value: Any) -> Row | None:
    name = type(value).__name__
    return ["path", name, str(value)] if getattr(sys.modules["pathlib"], name, None) is type(value) and name in PATHS else None


def _uuid_row(encoder: Encoder, value: Any) -> Row | None:
    return ["UUID", hex(value.int)] if type(value) is sys.modules["uuid"].UUID else None


def _defaultdict_row(encoder: Encoder, value: collections.defaultdict[Any, Any]) -> Row:
    return ["defaultdict", encoder.atoms(value.keys()), encoder.atoms(value.values()), encoder.atom(value.default_factory)]


def _text(tag: str, write: Any) -> Any:
    return lambda encoder, value: [tag, write(value)]


def _items(tag: str) -> Any:
    return lambda encoder, value: [tag, encoder.atoms(value)]


def _mapping(tag: str) -> Any:
    return lambda encoder, value: [tag, encoder.atoms(value.keys()), encoder.atoms(value.values())]


def _range(tag: str) -> Any:
    return lambda encoder, value: [tag, encoder.atoms((value.start, value.stop, value.step))]


def _view(name: str, read: Any) -> Any:
    """A view of the dict itself, which may go on changing, or of another one that holds no more than what the view shows."""

    def row(encoder: Encoder, value: Any) -> Row:
        held = encoder.dict_of(value)
        return ["view", [encoder.atom(read(value) if held is None else held)], name]

    return row


def _moment(tag: str) -> Any:
    """The offset goes apart: `fromisoformat` takes one of less than a second for none."""
    return lambda encoder, value: [tag, value.replace(tzinfo=None).isoformat(), value.fold, _offset_in_us(value.utcoffset())]


def _offset_in_us(offset: datetime.timedelta | None) -> int | None:
    return None if offset is None else offset // datetime.timedelta(microseconds=1)


_LIBRARIES = {"numpy": _numpy_row, "pathlib": _path_row, "uuid": _uuid_row}
"""What writes values of modules that few programs import."""
_WRITERS: dict[type, Any] = {
    int: _text("int", hex),
    complex: lambda encoder, value: ["complex", value.real, value.imag],
    bytes: _text("bytes", lambda value: base64.b64encode(value).decode()),
    bytearray: _text("bytearray", lambda value: base64.b64encode(value).decode()),
    list: _items("list"),
    tuple: _items("tuple"),
    set: _items("set"),
    frozenset: _items("frozenset"),
    dict: _mapping("dict"),
    type({}.keys()): _view("keys", dict.fromkeys),
    type({}.values()): _view("values", lambda value: dict(enumerate(value))),
    type({}.items()): _view("items", dict),
    collections.OrderedDict: _mapping("OrderedDict"),
    collections.Counter: _mapping("Counter"),
    collections.defaultdict: _defaultdict_row,
    collections.deque: lambda encoder, value: ["deque", encoder.atoms(value), value.maxlen],
    range: _range("range"),
    slice: _range("slice"),
    type(...): lambda encoder, value: ["ellipsis"],
    type(NotImplemented): lambda encoder, value: ["notimplemented"],
    decimal.Decimal: _text("Decimal", str),
    fractions.Fraction: lambda encoder, value: ["Fraction", encoder.atoms((value.numerator, value.denominator))],
    datetime.datetime: _moment("datetime"),
    datetime.date: _text("date", datetime.date.isoformat),
    datetime.time: _moment("time"),
    datetime.timedelta: lambda encoder, value: ["timedelta", value.days, value.seconds, value.microseconds],
}

# How to read the built-in value that an instance of a subclass holds, past whatever the subclass overrides.
_EXACT: dict[type, Any] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    list: list.copy,
    tuple: lambda value: tuple(tuple.__iter__(value)),
    collections.OrderedDict: lambda value: collections.OrderedDict(collections.OrderedDict.items(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    bytes: bytes.__bytes__,
    bytearray: bytearray.copy,
}
