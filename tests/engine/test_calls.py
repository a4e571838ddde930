"""Which test code is but calls, and that expecting a result says what running the assert would have said."""

import ast
import json
import marshal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from engine.calls import calls_of_asserts, calls_of_functions, has_many_values
from engine.errors import BadJob
from engine.expectations import Equal, Near, Same, Truth, likely_line
from engine.jail.inside.candidate import result_line
from engine.jail.inside.decoding import Decoder, PlainData
from engine.records import AssertTests, FunctionTest, FunctionTests


def calls_of(code, *entry_points, check="", prompt=""):
    return calls_of_asserts(AssertTests(code=code, entry_points=entry_points or ("f",), check=check, prompt=prompt))


def made(calls):
    """The arguments of every call, as the candidate would make it."""
    noted = []
    source = marshal.loads(calls.work)["calls"]
    for call in eval(source, {}):
        call(lambda *args, **kwargs: noted.append((args, kwargs)))
    return noted


def exactly(value):
    """What tells 1 from True and 1.0, and 0.0 from -0.0."""
    return (type(value), repr(value))


def decoded(value):
    """A value as it arrives here, out of a report."""
    line = json.loads(result_line(0, value))
    return Decoder(line["rows"], PlainData(), plain=True).value(line["ok"])


def holds(condition, result):
    """Whether the assert itself holds of a function that returns this."""
    try:
        return bool(eval(condition, {"f": lambda *_: result}))
    except (ArithmeticError, TypeError):
        return False


# Forms


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("f(1) == 2", Equal(2)),
        ("2 == f(1)", Equal(2)),
        ("f(1) == [1, (2, None), {'a': {3}}]", Equal([1, (2, None), {"a": {3}}])),
        ("f(1) == set()", Equal(set())),
        ("f(1) == -1.5", Equal(-1.5)),
        ("f(1) == 1 - 2j", Equal(1 - 2j)),
        ("f(1) == 'a' 'b' + 'c'", Equal("abc")),
        ("f(1) == 3 * 19", Equal(57)),
        ("(f(1)) == (2)", Equal(2)),
        ("f(1) is None", Same(None)),
        ("f(1) is True", Same(True)),
        ("f(1) is False", Same(False)),
        ("f(1)", Truth(True)),
        ("not f(1)", Truth(False)),
        ("abs(f(1) - 2.5) < 1e-6", Near(2.5, 1e-6)),
        ("abs(f(1) - 5) < 1", Near(5, 1)),
        ("abs(f(1) - 10 / 4) < 1 / 1000", Near(2.5, 0.001)),
    ],
)
def test_conditions_that_are_calls(condition, expected):
    """Each form, with what is expected of the call in it."""
    calls = calls_of(f"assert {condition}")
    assert calls is not None
    assert calls.expected == (expected,)
    assert made(calls) == [((1,), {})]


@pytest.mark.parametrize(
    "condition",
    [
        "f(1) != 2",
        "f(1) < 2",
        "f(1) in [2]",
        "f(1) is 2",
        "f(1) is not None",
        "None is f(1)",
        "f(1) == f(2)",
        "f(1) == two",
        "f(1) == 2 == 2",
        "1 < f(1) < 2",
        "f(1) is True is True",
        "f(1) and f(2)",
        "not not f(1)",
        "not f(1) == 2",
        "(f(1) == 2) is True",
        "f(1)[0] == 2",
        "f(1).real == 2",
        "f(1)(2) == 2",
        "f(f(1)) == 2",
        "f.g(1) == 2",
        "g(1) == 2",
        "sorted(f(1)) == [2]",
        "2",
        "f",
        "f == 2",
        "[f(1)] == [2]",
        "f(1) == (yield)",
        "f(1) == f'{2}'",
        "f(1) == [x for x in (1, 2)]",
        "f(1) == [2][0]",
        "f(1) == float('nan')",
        "f(1) == frozenset()",
        "f(1) == ...",
        "f(1) == {1: ...}",
        "f(1) == {**{1: 2}}",
        "f(1) == [*(1, 2)]",
        "f(1) == {[1]: 2}",
        "f(1) == -True",
        "f(x) == 2",
        "f(*[1]) == 2",
        "f(1, *(2, 3)) == 2",
        "f(**{'a': 1}) == 2",
        "f(lambda: 1) == 2",
        "f(x := 1) == 2",
        "f(x for x in (1,)) == 2",
        "abs(f(1) - 2) <= 1",
        "abs(f(1) - 2) > 1",
        "1 > abs(f(1) - 2)",
        "abs(2 - f(1)) < 1",
        "abs(f(1) + 2) < 1",
        "abs(f(1) - 2, 3) < 1",
        "abs(f(1) - 2, key=3) < 1",
        "abs(f(1) - x) < 1",
        "abs(f(1) - 2) < x",
        "abs(f(1) - 2j) < 1",
        "abs(f(1) - '2') < 1",
        "abs(f(1) - 2) < 1 < 2",
        "math.fabs(f(1) - 2) < 1",
        "fabs(f(1) - 2) < 1",
        "abs(f(1)) < 1",
    ],
)
def test_conditions_that_are_more_than_calls(condition):
    """Near misses: what the forms do not cover keeps its examiner."""
    assert calls_of(f"assert {condition}") is None


@pytest.mark.parametrize(
    "condition",
    [
        "f(1) == 10 ** 100",
        "f(1) == 2 ** 64 * 2",
        "f(1) == 2 ** 2 ** 2 ** 2 ** 2",
        "f(10 ** 64) == 1",
        "f(1) == 1e309 - 1e309",
        "f(1) == 1 / 0",
        "f(1) == 1 // 0",
        "f(1) == 1 % 0",
        "f(1) == 0 ** (1 - 2)",
        "f(1 / 0) == 1",
        "f(1) == 10.0 ** 63 * 10.0 ** 63 * 10.0 ** 63 * 10.0 ** 63 * 10.0 ** 63",
        "f(1) == (0 - 8) ** 0.5",
        "f(1) == 'a' * 3",
        "f(1) == 'a' - 'b'",
        "f(1) == [1] + [2]",
        "f(1) == 1 << 2",
        "f(1) == 1 @ 2",
    ],
)
def test_arithmetic_that_is_not_worked_out(condition):
    """What is huge, fails, or is no arithmetic with plain numbers is left to an interpreter in a jail."""
    assert calls_of(f"assert {condition}") is None


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("assert f(1) == 2\nassert f(2) == 3", 2),
        ("'''Tests of f.'''\nassert f(1) == 2", 1),
        ("pass\nNAME = 'f'\nassert f(1) == 2, 'a message'", 1),
        ("assert True\nassert f(1) == 2\nassert 1, 'always'", 1),
        ("assert f(1) == 2  # a comment\n\n", 1),
    ],
)
def test_statements_that_do_nothing_are_left_away(code, count):
    """Docstrings, names for literals and asserts of what is true have nothing to say about a program."""
    calls = calls_of(code)
    assert calls is not None
    assert len(calls.expected) == len(calls.lines) == len(calls.quotes) == len(made(calls)) == count


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x = 1",
        "assert True",
        "assert False\nassert f(1) == 2",
        "assert 0\nassert f(1) == 2",
        "x = f(0)\nassert f(1) == 2",
        "x, y = 1, 2\nassert f(1) == 2",
        "x[0] = 1\nassert f(1) == 2",
        "x.y = 1\nassert f(1) == 2",
        "x = [].append\nassert f(1) == 2",
        "x: int = 1\nassert f(1) == 2",
        "x += 1\nassert f(1) == 2",
        "f = g\nassert f(1) == 2",
        "import f\nassert f(1) == 2",
        "from math import *\nassert f(1) == 2",
        "del f\nassert f(1) == 2",
        "def f(n): return 2\nassert f(1) == 2",
        "def abs(n): return 0\nassert abs(f(1) - 5) < 1",
        "class f: pass\nassert f(1) == 2",
        "f(1)\nassert f(1) == 2",
        "undefined\nassert f(1) == 2",
        "print('x')\nassert f(1) == 2",
        "for n in (1, 2):\n    assert f(n) == n",
        "if True:\n    assert f(1) == 2",
        "try:\n    assert f(1) == 2\nexcept AssertionError:\n    pass",
        "with open('x'):\n    assert f(1) == 2",
        "def test():\n    assert f(1) == 2",
        "raise ValueError\nassert f(1) == 2",
        "assert f(1) ==",
        "assert f(1) == 2\n\0",
        "assert f(1) == " + "(" * 10_000 + ")" * 10_000,
        "assert f(1) == " + "-" * 100_000 + "1",
        "assert f(1) == " + " + ".join(["1"] * 2_000),
    ],
)
def test_code_that_is_more_than_calls(code):
    """One statement that may mean something is enough, and so is code that does not compile."""
    assert calls_of(code) is None


def test_a_distance_of_a_subject_called_abs():
    """There `abs` is the program's, so the form is not what it looks like."""
    assert calls_of("assert abs(abs(1) - 2) < 1", "abs") is None
    assert calls_of("assert abs(-1) == 1", "abs") is not None


@pytest.mark.parametrize("entry_points", [("f", "g"), ("Solution().f",), ("f()",), ("",)])
def test_asserts_without_a_check_have_one_plain_name(entry_points):
    """Test code that uses two names of the program, or none that it could write, is examined."""
    assert calls_of("assert f(1) == 2", *entry_points) is None


# A checking function


CHECK = "def check(candidate):\n    '''Tests.'''\n    assert candidate(1) == 2\n    assert candidate(2) == 3\n"


@pytest.mark.parametrize("entry_points", [("f",), ("Solution().f",), ("f", "helper")])
def test_a_checking_function_is_called_with_the_first_entry_point(entry_points):
    """Whatever expression that is: the candidate works it out."""
    calls = calls_of("META = {'a': 1}\n" + CHECK, *entry_points, check="check")
    assert calls is not None
    assert marshal.loads(calls.work)["entry_point"] == entry_points[0]
    assert made(calls) == [((1,), {}), ((2,), {})]
    assert calls.quotes == ("assert candidate(1) == 2", "assert candidate(2) == 3")


@pytest.mark.parametrize(
    "code",
    [
        "",
        CHECK.replace("check", "other"),
        CHECK + CHECK,
        CHECK + "check(f)\n",
        CHECK + "assert f(1) == 2\n",
        "import math\n" + CHECK,
        "@decorate\n" + CHECK,
        "async " + CHECK,
        CHECK.replace("candidate)", "candidate, other)"),
        CHECK.replace("candidate)", "candidate=None)"),
        CHECK.replace("candidate)", "candidate: object)"),
        CHECK.replace("candidate)", "candidate, /)"),
        CHECK.replace("candidate)", "*candidate)"),
        CHECK.replace("candidate)", "candidate, *rest)"),
        CHECK.replace("candidate)", "candidate, *, key=1)"),
        CHECK.replace("candidate)", "candidate, **rest)"),
        CHECK.replace("candidate)", ")"),
        CHECK + "    return True\n",
        CHECK + "    candidate = other\n",
        CHECK + "    assert f(1) == 2\n",
        CHECK + "    def check(c): pass\n",
        "class Tests:\n" + "\n".join("    " + line for line in CHECK.splitlines()),
        "if True:\n" + "\n".join("    " + line for line in CHECK.splitlines()),
    ],
)
def test_checking_functions_that_are_more_than_calls(code):
    """Only a plain function of one argument, alone in its module, is as good as its asserts."""
    assert calls_of(code, check="check") is None


# What the candidate is told, and what is expected of it


def test_arguments_go_as_they_are_written():
    """Positions, keywords and worked out numbers; each call makes its own objects."""
    calls = calls_of("assert f([1, {'a': (2,)}], 3 * 19, -1.5, k=set(), j=b'x' ) == 1\nassert f() == 2")
    assert calls is not None
    assert made(calls) == [(([1, {"a": (2,)}], 57, -1.5), {"k": set(), "j": b"x"}), ((), {})]


def test_a_right_result_is_known_by_its_bytes():
    """The line that an honest candidate writes for what is expected, with the number of the call."""
    calls = calls_of("assert f(1) == [1, 'é', {2}]\nassert not f(2)\nassert f(3) is None\nassert abs(f(4) - 2) < 1")
    assert calls is not None
    assert calls.lines == tuple(result_line(index, value) for index, value in enumerate([[1, "é", {2}], False, None, 2]))


def test_long_quotes_are_cut():
    calls = calls_of(f"assert f('{'x' * 10_000}') == 1")
    assert calls is not None
    assert len(calls.quotes[0]) < 1_000


def test_function_tests_are_encoded():
    """What the candidate decodes are the arguments, and nothing is quoted."""
    tests = (FunctionTest(args=([1], "x"), kwargs={"k": {2: None}}, expected=(1,)), FunctionTest(expected=2))
    calls = calls_of_functions(FunctionTests(entry_point="S().f", tests=tests, float_tolerance=0.5))
    work = marshal.loads(calls.work)
    assert work["entry_point"] == "S().f"
    decoder = Decoder(work["tests"][0]["rows"], PlainData())
    assert decoder.values(work["tests"][0]["args"]) == [[1], "x"]
    assert decoder.value(work["tests"][0]["kwargs"]["k"]) == {2: None}
    assert calls.expected == (Equal((1,), 0.5), Equal(2, 0.5))
    assert calls.quotes == ("", "")


@pytest.mark.parametrize("test", [FunctionTest(args=(object(),), expected=1), FunctionTest(kwargs={"k": [len]}, expected=1)])
def test_arguments_that_are_no_plain_data_are_refused(test):
    with pytest.raises(BadJob, match=r"^function test 1: "):
        calls_of_functions(FunctionTests(entry_point="f", tests=(FunctionTest(expected=1), test)))


# Folding


NUMBERS = st.integers(0, 40) | st.sampled_from([2**63, 2**64 - 1, 2**64, 10**30]) | st.floats(0, 1e30) | st.booleans()
EXPRESSIONS = st.recursive(
    NUMBERS.map(repr),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map("({0[0]} {0[1]} {0[2]})".format)
        | st.tuples(inner, st.integers(0, 70)).map("({0[0]} ** {0[1]})".format)
    ),
    max_leaves=6,
)
TEXTS = st.lists(st.text(max_size=5).map(repr), min_size=1, max_size=4).map(" + ".join)


@given(EXPRESSIONS | TEXTS)
@example("(2 ** 63)")
@example("((1 - 3) ** 63)")
@example("(7 // (0 - 2))")
@example("(7 % (0 - 2))")
@example("(True + True)")
@example("(1e+30 / 5e-324)")
@example("(0.0 * (0 - 1))")
def test_folding_gives_what_python_gives(expression):
    """As what is expected, as an argument and within a list: the same value of the same type, or an examiner."""
    calls = calls_of(f"assert f({expression}, [{expression}]) == [{expression}]")
    if calls is None:
        return
    value = eval(expression)
    (expected,) = calls.expected
    assert isinstance(expected, Equal)
    assert isinstance(expected.value, list)
    (((first, (second,)), _),) = made(calls)
    assert exactly(expected.value[0]) == exactly(first) == exactly(second) == exactly(value)


@given(st.integers(0, 10**6), st.sampled_from("+-*"), st.integers(0, 10**6), st.sampled_from("+-*"), st.integers(0, 10**6))
def test_small_arithmetic_is_folded(one, first, two, second, three):
    """So that the property above speaks of something."""
    expression = f"{one} {first} {two} {second} {three}"
    calls = calls_of(f"assert f() == {expression}")
    assert calls is not None
    assert calls.expected == (Equal(eval(expression)),)


# Expectations against Python itself


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.sampled_from([0.0, -0.0, 1.0, 0.5, 2.0])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.complex_numbers(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "1"])
    | st.text(max_size=4)
    | st.binary(max_size=4)
)
KEYS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=2) | st.tuples(st.integers(0, 2))
PLAIN = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.sets(KEYS, max_size=3)
    ),
    max_leaves=6,
)


def other_forms(value):
    """Values that are equal to one, or nearly so."""
    forms = [value, [value], (value,), str(value), bool(value)]
    if isinstance(value, int | float):
        forms += [
            value + 1,
            value * 1.0 if abs(value) < 2**53 else value,
            -value,
            complex(value) if abs(value) < 2**53 else value,
        ]
    if isinstance(value, list | tuple):
        forms += [list(value), tuple(value), value[1:]]
    if isinstance(value, set):
        forms += [frozenset(value), sorted(map(str, value))]
    if isinstance(value, dict):
        forms += [dict(reversed(value.items())), list(value), value | {"more": 1}]
    return st.sampled_from(forms)


PAIRS = PLAIN.flatmap(lambda value: st.tuples(st.just(value), other_forms(value) | PLAIN))


@given(PAIRS, st.sampled_from(["f() == {}", "{} == f()", "f(1) == {}"]))
@example(([1, 2.0], [True, 2]), "f() == {}")
@example(({1: "a"}, {True: "a"}), "f() == {}")
@example(((1, 2), [1, 2]), "f() == {}")
@example((1.0, 1.05), "f() == {}")
@example((10**400, 10**400), "f() == {}")
@example(("\ud800", "\ud800"), "f() == {}")
def test_equality_is_that_of_the_assert(pair, form):
    """For any plain data that is expected and any that comes, its line known by bytes or not."""
    expected, got = pair
    condition = form.format(repr(expected))
    calls = calls_of(f"assert {condition}")
    assert calls is not None
    assert (calls.expected[0].difference(decoded(got)) is None) == holds(condition, got)
    if calls.lines[0] == result_line(0, got):
        assert holds(condition, got)


@example(1, "f() is True")
@example(0.0, "f() is False")
@example([], "f() is None")
@given(PLAIN, st.sampled_from(["f()", "not f()", "f() is None", "f() is True", "f() is False"]))
def test_truth_and_identity_are_those_of_the_assert(got, condition):
    """Of any plain data: 1 is true and is not True, and an empty list is false and is not None."""
    calls = calls_of(f"assert {condition}")
    assert calls is not None
    assert (calls.expected[0].difference(decoded(got)) is None) == holds(condition, got)
    if calls.lines[0] == result_line(0, got):
        assert holds(condition, got)


BOUNDS = st.sampled_from([1e-9, 1e-6, 0.1, 1, 2.5]) | st.floats(1e-9, 1e300)


STRANGE = st.sampled_from([float("nan"), float("inf"), True, 10**400, 1e308 + 1e308j, {1}, "1", None, [1]])


def near(value, bound):
    return st.sampled_from([value, -value, value + bound, value - bound, value + bound / 2, value + 2 * bound])


DISTANCES = st.tuples(st.integers(0, 2**40) | st.floats(0, 1e300), BOUNDS).flatmap(
    lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), near(*pair) | STRANGE | st.floats() | st.complex_numbers() | PLAIN)
)


@given(DISTANCES)
@example((1e300, 1, 10**400))
@example((2, 0.5, 2.5))
@example((2, 0.5, True))
def test_distances_are_those_of_the_assert(case):
    """For what lies near, at the bound, far away, nowhere, and is no number at all."""
    value, bound, got = case
    condition = f"abs(f() - {value!r}) < {bound!r}"
    calls = calls_of(f"assert {condition}")
    assert calls is not None
    assert (calls.expected[0].difference(decoded(got)) is None) == holds(condition, got)
    if calls.lines[0] == result_line(0, got):
        assert holds(condition, got)


@given(PLAIN, PLAIN)
def test_differences_are_one_short_line(expected, got):
    """For people, however long the data is."""
    for expectation in (Equal(expected), Same(None), Truth(True), Truth(False), Near(1.0, 1e-6)):
        difference = expectation.difference(got)
        assert difference is None or (0 < len(difference) < 2_000 and "\n" not in difference)


@pytest.mark.parametrize(
    "got",
    [10**5_000, "x" * 10**6, [[0] * 1_000] * 1_000, {n: n for n in range(10_000)}, b"\0" * 10**6],
    ids=["int", "str", "list", "dict", "bytes"],
)
def test_large_results_are_not_written_out(got):
    for expectation in (Equal(1), Same(None), Truth(False), Near(1.0, 1e-6)):
        difference = expectation.difference(got)
        assert difference is not None
        assert len(difference) < 2_000


@given(PLAIN)
def test_the_likely_line_is_that_of_the_value_itself(value):
    """What is compared by bytes is what the candidate's own code writes."""
    assume(value is not None)
    assert likely_line(3, Equal(value)) == result_line(3, value)
    assert Equal(value).difference(decoded(value)) is None


def test_what_is_worked_out_is_quoted_as_code():
    """A quote is Python again, for people to run."""
    calls = calls_of("assert f(3 * 19, 'a' + 'b') == 2 ** 5, 'because'")
    assert calls is not None
    assert isinstance(ast.parse(calls.quotes[0]).body[0], ast.Assert)


@pytest.mark.parametrize(
    ("code", "check", "prompt"),
    [
        ("f = 5\nassert f(1) == 2", "", ""),
        ("abs = 5\nassert abs(f(1) - 2) < 1", "", ""),
        ("def check(c):\n    c = 5\n    assert c(1) == 2", "check", ""),
        ("def check(c):\n    assert c(1) == 2\ncheck = 5", "check", ""),
        ("assert abs(f(1) - 2) < 1", "", "def abs(x): return 100\n"),
        ("assert abs(f(1) - 2) < 0", "", ""),
        ("assert abs(f(1) - 1e309) < 1", "", ""),
    ],
)
def test_names_that_mean_something_else_and_bounds_that_nothing_keeps_are_left_to_the_examiner(code, check, prompt):
    assert calls_of_asserts(AssertTests(code=code, entry_points=("f",), check=check, prompt=prompt)) is None


MANY: tuple[object, ...] = ([1] * 6_000, [[]] * 6_000, {number: [] for number in range(3_000)})


@pytest.mark.parametrize("value", MANY, ids=["numbers", "lists", "dict"])
@pytest.mark.parametrize("place", ["args", "kwargs", "expected"])
def test_many_values_are_noticed_wherever_they_are(value, place):
    given = {"args": (value,), "kwargs": {"a": value}, "expected": value}[place]
    assert has_many_values(FunctionTests(entry_point="f", tests=(FunctionTest(**{"expected": 1, place: given}),)))


def test_few_values_are_not_many():
    """However long they are, and as many as most tests have."""
    tests = (FunctionTest(args=([1] * 100, "x" * 100_000), expected={"a": (1, 2)}),) * 40
    assert not has_many_values(FunctionTests(entry_point="f", tests=tests))


def test_tests_with_a_long_prompt_are_not_kept():
    """Nor looked at: keeping the calls keeps the tests."""
    assert calls_of_asserts(AssertTests(code="assert f(1) == 2", entry_points=("f",), prompt="# " + "x" * (1 << 15))) is None
