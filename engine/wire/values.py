"""Plain Python data <-> `Value` messages, exact in both directions.

Only instances of exactly the built-in types of the message cross: no subclass, so an enum member or a named tuple is
refused by name rather than flattened. Integers beyond 64 bits travel as hexadecimal, whose conversion is linear, so no
number of digits is too many. Both directions are recursive and stop at MAX_DEPTH, well inside of what protobuf's parsers take.
"""

import re
from typing import Any

from engine.errors import BadJob
from engine.places import Place, render
from protos.execution.v1 import execution_pb2 as pb

MAX_DEPTH = 40
"""Containers within containers. protobuf parses 100 messages deep; a container takes two, what is around them takes five."""

_SEQUENCES: dict[type, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
_BUILDERS: dict[str, type] = {name: kind for kind, name in _SEQUENCES.items()}
_AS_THEY_ARE = {"integer", "text", "float", "boolean", "data"}
_CAN_CROSS = "None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset or dict"
_MOST_COLLISIONS = 1_000
"""Items of one set or dict that have the hash of another one: each is compared with all before it. Powers of two have many."""
_HEXADECIMAL = re.compile(r"-?0x[0-9a-f]+")


def message_from_value(value: object, where: str) -> pb.Value:
    """The message that carries `value`. Raises BadJob, naming the type and `where` it is, for what cannot cross."""
    message = pb.Value()
    fill(message, value, where)
    return message


def fill(message: pb.Value, value: object, where: str) -> None:
    """Makes an empty message carry `value`; as `message_from_value`, without a copy."""
    try:
        _fill(message, value, None, 0)
    except _CannotCross as error:
        raise BadJob(f"{where}{render(error.place)}: {error}") from error


class _CannotCross(Exception):
    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


def _fill(message: pb.Value, value: Any, place: Place, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _CannotCross(f"data nested more than {MAX_DEPTH} deep; flatten it", None)
    kind = type(value)
    if kind in _SEQUENCES:
        sequence = getattr(message, _SEQUENCES[kind])
        sequence.SetInParent()  # also where it is empty
        add = sequence.items.add
        for index, item in enumerate(value):
            _fill(add(), item, (place, index), depth + 1)
    elif kind is dict:
        entries = message.dict
        entries.SetInParent()
        for key, item in value.items():
            _fill(entries.keys.add(), key, (place, key), depth + 1)
            _fill(entries.values.add(), item, (place, key), depth + 1)
    else:
        _fill_scalar(message, kind, value, place)


def _fill_scalar(message: pb.Value, kind: type, value: Any, place: Place) -> None:
    if kind is int:
        if -(2**63) <= value < 2**63:
            message.integer = value
        else:
            message.big_integer = hex(value)
    elif kind is str:
        message.text = _text(value, place)
    elif kind is float:
        message.float = value
    elif kind is bool:
        message.boolean = value
    elif value is None:
        message.none = True
    elif kind is bytes:
        message.data = value
    elif kind is complex:
        message.complex.SetInParent()
        message.complex.real, message.complex.imag = value.real, value.imag
    else:
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise _CannotCross(f"a value of type {name} cannot be sent; use {_CAN_CROSS}", place)


def _text(value: str, place: Place) -> str:
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError as error:
        raise _CannotCross(
            f"a string with a lone surrogate at position {error.start} cannot be sent; use bytes", place
        ) from error
    return value


def value_from_message(message: pb.Value, where: str, depth: int = 0) -> object:
    """The Python value a message carries. Raises BadJob, naming `where`, for a message that carries none."""
    if depth > MAX_DEPTH:
        raise BadJob(f"{where}: data nested more than {MAX_DEPTH} deep; flatten it")
    kind = message.WhichOneof("kind")
    if kind in _AS_THEY_ARE:
        return getattr(message, kind)
    match kind:
        case "list" | "tuple" | "set" | "frozenset":
            items = [value_from_message(item, where, depth + 1) for item in getattr(message, kind).items]
            if kind in ("set", "frozenset"):
                _check_hashes(items, where)
            return _BUILDERS[kind](items)
        case "dict":
            entries = message.dict
            if len(entries.keys) != len(entries.values):
                raise BadJob(f"{where}: a dict with {len(entries.keys)} keys but {len(entries.values)} values")
            keys = [value_from_message(key, where, depth + 1) for key in entries.keys]
            values = [value_from_message(value, where, depth + 1) for value in entries.values]
            _check_hashes(keys, where)
            return dict(zip(keys, values, strict=True))
        case "none":
            return None
        case "big_integer":
            if not _HEXADECIMAL.fullmatch(message.big_integer):
                raise BadJob(f'{where}: a big integer is written as "-0x1f", not {message.big_integer[:40]!r}')
            return int(message.big_integer, 16)
        case "complex":
            return complex(message.complex.real, message.complex.imag)
    raise BadJob(f"{where}: a value without a kind")


def _check_hashes(keys: list[object], where: str) -> None:
    """Raises BadJob where keys have no hash, or too many the same one."""
    try:
        collisions = len(keys) - len(set(map(hash, keys)))
    except TypeError as error:
        raise BadJob(f"{where}: {error} inside a set or as a key") from error
    if collisions > _MOST_COLLISIONS:
        raise BadJob(f"{where}: a set or dict with {collisions} equal hashes; the most is {_MOST_COLLISIONS}")
