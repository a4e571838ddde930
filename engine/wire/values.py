"""Plain Python data <-> `Value` messages, exact in both directions.

Only instances of exactly the built-in types of the message cross: no subclass, so an enum member or a named tuple is
refused by name rather than flattened. Integers beyond 64 bits travel as hexadecimal, whose conversion is linear, so no
number of digits is too many. Both directions are recursive and stop at MAX_DEPTH, well inside of what protobuf's parsers take.
"""

import re
from collections.abc import Iterable

from engine.errors import BadJob
from engine.places import Place, render
from protos.execution.v1 import execution_pb2 as pb

MAX_DEPTH = 40
"""Containers within containers. protobuf parses 100 messages deep; a container takes two, what is around them takes five."""

_INT64 = range(-(2**63), 2**63)
_SEQUENCES = (list, tuple, set, frozenset)
_CAN_CROSS = "None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset or dict"
_HEXADECIMAL = re.compile(r"-?0x[0-9a-f]+")


def message_from_value(value: object, where: str) -> pb.Value:
    """The message that carries `value`. Raises BadJob, naming the type and `where` it is, for what cannot cross."""
    try:
        return _message(value, None, 0)
    except _CannotCross as error:
        raise BadJob(f"{where}{render(error.place)}: {error}") from error


class _CannotCross(Exception):
    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


def _message(value: object, place: Place, depth: int) -> pb.Value:
    if depth > MAX_DEPTH:
        raise _CannotCross(f"data nested more than {MAX_DEPTH} deep; flatten it", None)
    kind = type(value)
    if value is None:
        return pb.Value(none=True)
    if isinstance(value, list | tuple | set | frozenset) and kind in _SEQUENCES:
        items = [_message(item, (place, index), depth + 1) for index, item in enumerate(value)]
        return pb.Value(**{kind.__name__: pb.Value.Items(items=items)})  # type: ignore[arg-type]  # fields are named as the types
    if isinstance(value, dict) and kind is dict:
        keys = [_message(key, (place, key), depth + 1) for key in value]
        values = [_message(item, (place, key), depth + 1) for key, item in value.items()]
        return pb.Value(dict=pb.Value.Entries(keys=keys, values=values))
    return _message_from_scalar(value, place)


def _message_from_scalar(value: object, place: Place) -> pb.Value:
    match value:
        case bool():
            return pb.Value(boolean=value)
        case int() if type(value) is int:
            return pb.Value(integer=value) if value in _INT64 else pb.Value(big_integer=hex(value))
        case float() if type(value) is float:
            return pb.Value(float=value)
        case complex() if type(value) is complex:
            return pb.Value(complex=pb.Value.Complex(real=value.real, imag=value.imag))
        case bytes() if type(value) is bytes:
            return pb.Value(data=value)
        case str() if type(value) is str:
            return pb.Value(text=_text(value, place))
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise _CannotCross(f"a value of type {name} cannot be sent; use {_CAN_CROSS}", place)


def _text(value: str, place: Place) -> str:
    try:
        value.encode()
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
    match kind:
        case "list" | "tuple" | "set" | "frozenset":
            items = (value_from_message(item, where, depth + 1) for item in getattr(message, kind).items)
            return _hashed({"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind], items, where)
        case "dict":
            entries = message.dict
            if len(entries.keys) != len(entries.values):
                raise BadJob(f"{where}: a dict with {len(entries.keys)} keys but {len(entries.values)} values")
            keys = [value_from_message(key, where, depth + 1) for key in entries.keys]
            values = [value_from_message(value, where, depth + 1) for value in entries.values]
            return _hashed(dict, zip(keys, values, strict=True), where)
        case "none":
            return None
        case "big_integer":
            if not _HEXADECIMAL.fullmatch(message.big_integer):
                raise BadJob(f'{where}: a big integer is written as "-0x1f", not {message.big_integer[:40]!r}')
            return int(message.big_integer, 16)
        case "complex":
            return complex(message.complex.real, message.complex.imag)
        case None:
            raise BadJob(f"{where}: a value without a kind")
    return getattr(message, kind)


def _hashed(build: type, items: Iterable[object], where: str) -> object:
    try:
        return build(items)
    except TypeError as error:
        raise BadJob(f"{where}: {error} inside a {build.__name__}") from error
