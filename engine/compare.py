"""Whether what a program wrote is what was expected. Pure functions, outside of every jail.

What a program writes is hostile, so these are total: any bytes, linear work, no exception. The answer is None where the two
are equal and otherwise one short line for people about the first difference. Plain data is compared in engine.equality.
"""

import math
import re
from decimal import Decimal

from engine.records import CompareRule

TOKEN_TOLERANCE = 1e-6
_EXCERPT = 60
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
            lines = _lines(expected)
            return _first_difference("line", lines, _lines(actual, len(lines)), numbers=False)
        case CompareRule.TOKENS:
            tokens = expected.split()
            return _first_difference("token", tokens, actual.split(None, len(tokens)), numbers=True)


def _lines(data: bytes, most: int = -1) -> list[bytes]:
    """Lines without the white space at their ends, and without empty lines at the end; behind `most` of them the rest as one.

    A program may write millions of lines where a few are expected.
    """
    kept = data.rstrip()
    return [line.rstrip() for line in kept.split(b"\n", most)] if kept else []


def _byte_difference(expected: bytes, actual: bytes) -> str:
    common = _common_prefix(expected, actual)
    return f"byte {common + 1}: expected {_excerpt(expected[common:])}, got {_excerpt(actual[common:])}"


def _first_difference(what: str, expected: list[bytes], actual: list[bytes], *, numbers: bool) -> str | None:
    for number, (wanted, got) in enumerate(zip(expected, actual, strict=False), start=1):
        if wanted != got and not (numbers and _same_number(wanted, got)):
            return f"{what} {number}: expected {_excerpt(wanted, got)}, got {_excerpt(got, wanted)}"
    common = min(len(expected), len(actual))
    if len(expected) > common:
        return f"{what} {common + 1}: expected {_excerpt(expected[common])}, got the end of the output"
    if len(actual) > common:
        return f"{what} {common + 1}: expected the end of the output, got {_excerpt(actual[common])}"
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
