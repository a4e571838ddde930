"""Whether what a program wrote is what was expected. Pure functions, outside of every jail.

What a program writes is hostile, so these are total: any bytes, linear work, no exception, and no lists of millions of lines. The
answer is None where the two are equal and otherwise one short line for people about the first difference. Plain data is compared
in engine.equality.
"""

import io
import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import zip_longest

from engine.records import CompareRule

TOKEN_TOLERANCE = 1e-6
_EXCERPT = 60
_TOKEN = re.compile(rb"\S+")
_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")
_MAX_NUMBER_BYTES = 400
"""A longer token is no number: converting it would cost more than its length."""


def stdout_difference(rule: CompareRule, expected: bytes, actual: bytes) -> str | None:
    """How a program's stdout differs from what is expected; None where it does not."""
    if actual == expected:
        return None
    match rule:
        case CompareRule.EXACT:
            return _byte_difference(expected, actual)
        case CompareRule.LINES:
            return _first_difference("line", _lines(expected), _lines(actual), numbers=False)
        case CompareRule.TOKENS:
            return _first_difference("token", _tokens(expected), _tokens(actual), numbers=True)


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines without the white space at their ends, and without empty lines at the end."""
    return map(bytes.rstrip, io.BytesIO(data.rstrip()))


def _tokens(data: bytes) -> Iterator[bytes]:
    return (found[0] for found in _TOKEN.finditer(data))


def _byte_difference(expected: bytes, actual: bytes) -> str:
    common = _common_prefix(expected, actual)
    return f"byte {common + 1}: expected {_excerpt(expected[common:])}, got {_excerpt(actual[common:])}"


def _first_difference(what: str, expected: Iterable[bytes], actual: Iterable[bytes], *, numbers: bool) -> str | None:
    for number, (wanted, got) in enumerate(zip_longest(expected, actual), start=1):
        if wanted is None:
            return f"{what} {number}: expected the end of the output, got {_excerpt(got)}"
        if got is None:
            return f"{what} {number}: expected {_excerpt(wanted)}, got the end of the output"
        if wanted != got and not (numbers and _same_number(wanted, got)):
            return f"{what} {number}: expected {_excerpt(wanted, got)}, got {_excerpt(got, wanted)}"
    return None


def _same_number(wanted: bytes, got: bytes) -> bool:
    """Whether both are numbers, at least one with a decimal point, within the tolerance of each other.

    Of an integer only the absolute one counts: else who writes 12345670.0 need not know a count such as 12345678.
    """
    if max(len(wanted), len(got)) > _MAX_NUMBER_BYTES or b"." not in wanted + got:
        return False
    if not _NUMBER.fullmatch(wanted) or not _NUMBER.fullmatch(got):
        return False
    if b"." not in wanted:
        return abs(Decimal(wanted.decode()) - Decimal(got.decode())) <= TOKEN_TOLERANCE
    left, right = float(wanted), float(got)
    return (
        math.isfinite(left)
        and math.isfinite(right)
        and math.isclose(left, right, rel_tol=TOKEN_TOLERANCE, abs_tol=TOKEN_TOLERANCE)
    )


def _excerpt(data: bytes, beside: bytes = b"") -> str:
    """The data as a short literal, from shortly before where it leaves `beside`."""
    if not data:
        return "nothing"
    start = 0
    if len(data) > _EXCERPT and beside:
        start = max(0, _common_prefix(data, beside) - _EXCERPT // 3)
    shown = data[start : start + _EXCERPT].decode("utf-8", "backslashreplace")
    return f"{'...' if start else ''}{shown!r}{'...' if len(data) > start + _EXCERPT else ''}"


def _common_prefix(one: bytes, other: bytes) -> int:
    """How many bytes at the start are the same, found by halving: comparing slices is what computers are fast at."""
    low, high = 0, min(len(one), len(other)) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low
