"""Whether the plain data that came out of a jail is what was expected. Pure, outside of every jail.

Equality is that of Python on exactly the built-in types, except that nan is nan: 1 is 1.0 and True is 1, a list is no tuple, a
set is a frozenset, bytes are a bytearray. No method of any other type is ever called, so a value cannot have a say in its own
comparison. Lists, tuples and dicts are walked without recursion, so depth does no harm; what is inside sets and keys is hashable,
hence rarely deep, and counts as different beyond MAX_HASHED_DEPTH. A float tolerance holds everywhere but inside sets and keys.
"""

import cmath
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction

from engine.places import Place, render, short

MAX_HASHED_DEPTH = 100

_NUMBERS = (bool, int, float, complex)
_SCALARS = (type(None), str, bytes, *_NUMBERS)
_BYTES = (bytes, bytearray)
_NAN = object()


def value_difference(expected: object, actual: object, float_tolerance: float = 0.0) -> str | None:
    """How a value differs from what is expected: None, or one short line about the first place where it does."""
    pending: list[tuple[Place, object, object]] = [(None, expected, actual)]
    while pending:
        path, wanted, got = pending.pop()
        if isinstance(wanted, list | tuple) and isinstance(got, list | tuple) and type(wanted) is type(got):
            if len(wanted) != len(got):
                return f"{_at(path)}expected {len(wanted)} items, got {len(got)}: {short(got)}"
            pending.extend(((path, index), wanted[index], got[index]) for index in reversed(range(len(wanted))))
        elif isinstance(wanted, dict) and isinstance(got, dict) and type(wanted) is type(got):
            pairs = _paired(wanted, got)
            if isinstance(pairs, str):
                return _at(path) + pairs
            pending.extend(((path, key), one, other) for key, one, other in reversed(pairs))
        elif not _same(wanted, got, float_tolerance):
            return f"{_at(path)}expected {short(wanted)}, got {short(got)}"
    return None


def _paired(wanted: dict[object, object], got: dict[object, object]) -> list[tuple[object, object, object]] | str:
    """The values of both dicts by key, or what is wrong with the keys."""
    if len(wanted) != len(got):
        return f"expected {len(wanted)} keys, got {len(got)}: {short(got)}"
    values: defaultdict[object, Iterator[object]] = defaultdict(lambda: iter(()))
    by_key: defaultdict[object, list[object]] = defaultdict(list)
    for key, value in got.items():
        by_key[_hashed(key)].append(value)
    values.update((key, iter(found)) for key, found in by_key.items())
    pairs = []
    for key, value in wanted.items():
        other = next(values[_hashed(key)], _NAN)
        if other is _NAN:
            return f"expected the key {short(key)}, which is missing"
        pairs.append((key, value, other))
    return pairs


def _same(wanted: object, got: object, tolerance: float) -> bool:
    if type(wanted) in _NUMBERS and type(got) in _NUMBERS:
        return _same_number(wanted, got, tolerance)
    if type(wanted) in (set, frozenset) and type(got) in (set, frozenset):
        return _hashed(frozenset(wanted)) == _hashed(frozenset(got))  # type: ignore[call-overload]  # both are sets
    if type(wanted) in _BYTES and type(got) in _BYTES:
        return wanted == got
    return type(wanted) is type(got) and type(wanted) in _SCALARS and wanted == got


def _same_number(wanted: object, got: object, tolerance: float) -> bool:
    assert isinstance(wanted, int | float | complex)
    assert isinstance(got, int | float | complex)
    if wanted == got:
        return True
    if isinstance(wanted, complex) or isinstance(got, complex):
        return _same_complex(wanted, got, tolerance)
    if wanted != wanted and got != got:
        return True
    if not tolerance or not (isinstance(wanted, float) or isinstance(got, float)):
        return False
    if isinstance(wanted, int):  # who gives 1e15 need not know a count such as 10**15 + 7
        return isinstance(got, float) and math.isfinite(got) and abs(wanted - Fraction(got)) <= tolerance
    try:
        return math.isclose(wanted, got, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:
        return False


def _same_complex(wanted: complex, got: complex, tolerance: float) -> bool:
    """Of two numbers that are not equal to the bit. An integer is no nearest float here either."""
    if isinstance(wanted, int):
        return abs(got.imag) <= tolerance and _same_number(wanted, got.real, tolerance)
    try:
        other = complex(got)
    except OverflowError:  # an integer too large to be a float is no complex number either
        return False
    if wanted != wanted:
        return _nan_as_marker(complex(wanted)) == _nan_as_marker(other)
    return bool(tolerance) and cmath.isclose(wanted, other, rel_tol=tolerance, abs_tol=tolerance)


def _hashed(value: object, depth: int = 0) -> object:
    """A hashable stand-in that is equal for equal values, nan included. Each unknown thing gets one of its own."""
    if depth > MAX_HASHED_DEPTH:
        return object()
    if type(value) is float and value != value:
        return _NAN
    if isinstance(value, complex) and type(value) is complex and value != value:
        return (_NAN, *_nan_as_marker(value))
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_hashed(item, depth + 1) for item in value)
    if isinstance(value, frozenset) and type(value) is frozenset:
        return frozenset(Counter(_hashed(item, depth + 1) for item in value).items())
    return value if type(value) in _SCALARS else object()


def _nan_as_marker(number: complex) -> tuple[object, object]:
    real, imaginary = number.real, number.imag
    return (_NAN if real != real else real, _NAN if imaginary != imaginary else imaginary)


def _at(path: Place) -> str:
    return f"at {render(path)}: " if path is not None else ""
