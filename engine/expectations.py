"""What a call should give: the few forms of expectation that are compared in the engine, with data that left a jail.

Each says how plain data differs from it, in one line for people, and what an honest candidate's report says of a right result.
"""

from dataclasses import dataclass
from typing import Protocol

from engine.equality import value_difference
from engine.jail.inside.candidate import result_line

_ANY_LINE, _TIMES_LONGER, _LONGEST_TRUTH = 1 << 16, 64, 1 << 20
"""Bytes that any line may have, for example an exception; how many times as many as the likely line; bytes of what is true."""


class Expectation(Protocol):
    """What is expected of one call."""

    def difference(self, got: object) -> str | None:
        """How plain data fails to be what is expected; None where it does not. Raises nothing."""

    def likely(self) -> object:
        """The result that a right program most likely gives."""


def likely_line(index: int, expectation: Expectation) -> bytes:
    """The report's line for that result: who wrote exactly this is right, and need not be decoded. Raises TypeError."""
    return result_line(index, expectation.likely())


def longest_line(expectation: Expectation, likely: bytes) -> int:
    """How many bytes of a line are worth reading: a right result has no more, and a megabyte can take a quarter of a second.

    Equal values take up to some twenty-five times as many, as complex numbers that equal small integers. What only has to be true
    may be anything, within reason.
    """
    return _LONGEST_TRUTH if isinstance(expectation, Truth) else _ANY_LINE + _TIMES_LONGER * len(likely)


@dataclass(frozen=True)
class Equal:
    """`call == value`, floats within `tolerance`, relative or absolute."""

    value: object
    tolerance: float = 0.0

    def difference(self, got: object) -> str | None:
        return value_difference(self.value, got, self.tolerance)

    def likely(self) -> object:
        return self.value


@dataclass(frozen=True)
class Same:
    """`call is value`, for one of None, True and False."""

    value: bool | None

    def difference(self, got: object) -> str | None:
        return None if got is self.value else f"expected {self.value}, got {_short(got)}"

    def likely(self) -> object:
        return self.value


@dataclass(frozen=True)
class Truth:
    """`call` or `not call`."""

    value: bool

    def difference(self, got: object) -> str | None:
        return None if bool(got) is self.value else f"expected something {str(self.value).lower()}, got {_short(got)}"

    def likely(self) -> object:
        return self.value


@dataclass(frozen=True)
class Near:
    """`abs(call - value) < bound`."""

    value: float
    bound: float

    def difference(self, got: object) -> str | None:
        near = isinstance(got, int | float | complex) and _distance(got, self.value) < self.bound
        return None if near else f"expected {self.value} within {self.bound}, got {_short(got)}"

    def likely(self) -> object:
        return self.value


def _distance(got: complex, wanted: float) -> float:
    try:
        return abs(got - wanted)
    except OverflowError:
        return float("inf")


def _short(value: object) -> str:
    """The beginning of a value's text, without making the whole of it where it is long."""
    if isinstance(value, str | bytes | bytearray):
        return repr(value[:60])
    if isinstance(value, list | tuple | set | frozenset | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return repr(value)[:60] if not isinstance(value, int) or value.bit_length() < 200 else "a large integer"
