"""What counts as the right output and the right value."""

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.compare import stdout_difference
from engine.equality import value_difference
from engine.records import CompareRule

EXACT, LINES, TOKENS = CompareRule.EXACT, CompareRule.LINES, CompareRule.TOKENS

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.floats(), inner) | st.frozensets(st.floats())
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("rule", "expected", "actual"),
    [
        (EXACT, b"1\n", b"1\n"),
        (LINES, b"1\n2\n", b"1  \r\n2"),
        (LINES, b"1", b"1\n\n\n"),
        (LINES, b"", b" \n"),
        (TOKENS, b"1 2\n3", b"1\n\n2   3\n"),
        (TOKENS, b"0.5", b"0.5000001"),
        (TOKENS, b"1000000.0", b"1000000.5"),
        (TOKENS, b"1e-05", b"0.00001"),
        (TOKENS, b"1000000000000007", b"1000000000000007.0"),
        (TOKENS, b"3", b"3.0000001"),
    ],
)
def test_outputs_that_a_rule_takes_as_equal(rule, expected, actual):
    """White space counts as much as the rule says, and numbers with a decimal point have a tolerance among tokens."""
    assert stdout_difference(rule, expected, actual) is None


@pytest.mark.parametrize(
    ("rule", "expected", "actual", "message"),
    [
        (EXACT, b"abc\n", b"abc", r"byte 4: expected '\n', got nothing"),
        (EXACT, b"abc", b"abd", "byte 3: expected 'c', got 'd'"),
        (LINES, b"1\n2\n", b"1\n3\n", "line 2: expected '2', got '3'"),
        (LINES, b"1\n2\n", b"1\n", "line 2: expected '2', got the end of the output"),
        (LINES, b"1\n", b"1\n2\n", "line 2: expected the end of the output, got '2'"),
        (LINES, b" 1", b"1", "line 1: expected ' 1', got '1'"),
        (TOKENS, b"1 2", b"1 3", "token 2: expected '2', got '3'"),
        (TOKENS, b"10000000", b"10000001", "token 1: expected '10000000', got '10000001'"),
        (TOKENS, b"1.0", b"nan", "token 1: expected '1.0', got 'nan'"),
        (TOKENS, b"10000000", b"10000001.0", "token 1: expected '10000000', got '10000001.0'"),
        (TOKENS, b"9007199254740993", b"9007199254740992.0", "token 1: expected '9007199254740993', got '9007199254740992.0'"),
        (TOKENS, b"7", b"1.0e9999", "token 1: expected '7', got '1.0e9999'"),
        (TOKENS, b"1.0", b"1_0.0", "token 1: expected '1.0', got '1_0.0'"),
        (TOKENS, b"1.0e999", b"2.0e999", "token 1: expected '1.0e999', got '2.0e999'"),
        (LINES, b"x", b"\xff\x00", r"line 1: expected 'x', got '\\xff\x00'"),
    ],
)
def test_the_first_difference_is_named(rule, expected, actual, message):
    """The message says where, what was expected and what came."""
    assert stdout_difference(rule, expected, actual) == message


@pytest.mark.parametrize("rule", [LINES, TOKENS])
def test_comparing_takes_no_more_memory_than_what_is_compared(rule):
    """However many lines and tokens there are."""
    expected, actual = b"a\n" * 500_000, b"a \n" * 500_000
    tracemalloc.start()
    try:
        assert stdout_difference(rule, expected, actual) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * (len(expected) + len(actual))


def test_a_difference_far_into_a_long_line_is_shown():
    """The excerpt starts shortly before the place where the lines part."""
    message = stdout_difference(LINES, b"a" * 10_000 + b"b", b"a" * 10_000 + b"c")
    assert message is not None
    assert "b'" in message
    assert "c'" in message
    assert len(message) < 300


def test_long_digits_are_no_number():
    """A token that would be dear to convert is compared as text."""
    digits = b"1" * 1_000_000
    assert stdout_difference(TOKENS, b"0." + digits, b"0." + digits + b"1") is not None


@given(st.sampled_from(CompareRule), st.binary(), st.binary())
def test_comparing_outputs_is_total(rule, expected, actual):
    """Any bytes give an answer, and bytes equal themselves."""
    assert stdout_difference(rule, expected, expected) is None
    stdout_difference(rule, expected, actual)


@given(PLAIN, PLAIN)
def test_comparing_values_is_total_and_symmetric(one, other):
    """Any two values give an answer, the same both ways, and a value equals itself."""
    assert value_difference(one, one) is None
    assert (value_difference(one, other) is None) == (value_difference(other, one) is None)


@given(PLAIN, PLAIN)
def test_what_python_takes_as_equal_is_equal(one, other):
    """nan is the only thing in which this equality departs from Python's, and it only adds to it."""
    if one == other:
        assert value_difference(one, other) is None


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (b"a", bytearray(b"a")),
        (bytearray(b"a"), bytearray(b"a")),
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ({1}, frozenset({1.0})),
        (math.nan, float("nan")),
        ([1, {"x": math.nan}], [1, {"x": float("nan")}]),
        ({math.nan}, {float("nan")}),
        ({(1, math.nan)}, {(1, float("nan"))}),
        ({math.nan: 1}, {float("nan"): 1}),
        (complex(math.nan, 1), complex(float("nan"), 1)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_values_that_are_equal(expected, actual):
    """Python's equality of built-in types, and nan is nan wherever it stands."""
    assert value_difference(expected, actual) is None


@pytest.mark.parametrize(
    ("expected", "actual", "message"),
    [
        (1, 2, "expected 1, got 2"),
        ([1], (1,), "expected [1], got (1,)"),
        ("1", b"1", "expected '1', got b'1'"),
        (None, 0, "expected None, got 0"),
        ([1, [2, 3]], [1, [2, 4]], "at [1][1]: expected 3, got 4"),
        ({"x": [1]}, {"x": [2]}, "at ['x'][0]: expected 1, got 2"),
        ({"x": 1}, {"y": 1}, "expected the key 'x', which is missing"),
        ([1, 2], [1], "expected 2 items, got 1: [1]"),
        ({math.nan, 1.0}, {math.nan, 2.0}, "expected {1.0, nan}, got {2.0, nan}"),
        (1.0, math.nan, "expected 1.0, got nan"),
        (10**400, 1.5, "an integer of 1329 bits"),
    ],
)
def test_the_first_place_where_values_differ_is_named(expected, actual, message):
    """The message names the place, what was expected and what came."""
    difference = value_difference(expected, actual)
    assert difference is not None
    assert message in difference or "nan" in message


def test_integers_may_have_any_number_of_digits():
    """Neither comparing nor telling the difference converts an integer to decimal digits."""
    assert value_difference(10**5000, 10**5000) is None
    assert value_difference(10**5000, 10**5000 + 1) == "expected an integer of 16610 bits, got an integer of 16610 bits"


def test_a_tolerance_holds_for_floats_only():
    """Floats within the tolerance are equal, also nested and beside integers; for an integer only absolutely."""
    assert value_difference([0.1 + 0.2], [0.3], float_tolerance=1e-9) is None
    assert value_difference([0.1 + 0.2], [0.3]) is not None
    assert value_difference(1, 1.0000000001, float_tolerance=1e-9) is None
    assert value_difference(10**12, 10**12 + 1, float_tolerance=1e-3) is not None
    assert value_difference(10**15 + 7, 1e15, float_tolerance=1e-6) is not None
    assert value_difference(2**53 + 1, 2.0**53, float_tolerance=0.5) is not None
    assert value_difference(1e15, 10**15 + 7, float_tolerance=1e-6) is None
    assert value_difference(10**400, 1e300, float_tolerance=1e-3) is not None
    assert value_difference(1 + 1j, 1 + 1.0000000001j, float_tolerance=1e-9) is None


def test_an_object_has_no_say_in_its_comparison():
    """An object that says it equals everything equals nothing."""

    class Anything:
        __hash__ = None  # type: ignore[assignment]  # as in the attack

        def __eq__(self, other):
            return True

        def __repr__(self):
            return "42"

    class AnyList(list):  # type: ignore[type-arg]  # as in the attack
        def __eq__(self, other):
            return True

    assert value_difference(42, Anything()) is not None
    assert value_difference([1], AnyList([2])) is not None


def test_depth_does_no_harm():
    """Values nested a hundred thousand deep are compared like others."""

    def nested(end):
        value = [end]
        for _ in range(100_000):
            value = [value]
        return value

    assert value_difference(nested(1), nested(1)) is None
    difference = value_difference(nested(1), nested(2))
    assert difference is not None
    assert len(difference) < 200
