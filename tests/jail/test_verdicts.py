"""What becomes of honest programs: every verdict that is no limit, for every kind of test."""

import pytest

from engine.errors import BadJob
from engine.records import (
    AssertTests,
    CauseKind,
    CompareRule,
    FunctionTest,
    FunctionTests,
    StdioTest,
    StdioTests,
    StopRule,
    Trust,
    Verdict,
)  # fmt: skip
from tests.jail.conftest import examined

pytestmark = pytest.mark.jail

CALLS = examined("assert add(1, 2) == 3\nassert add(-1, 1) == 0", "add")
MORE_THAN_CALLS = examined("three = 1 + 2\nassert add(1, 2) == three\nassert add(-1, 1) == 0", "add")
COMPILE, RUNTIME, WRONG, PASSED = Verdict.COMPILE_ERROR, Verdict.RUNTIME_ERROR, Verdict.WRONG_ANSWER, Verdict.PASSED


@pytest.mark.parametrize(
    ("program", "verdict", "message"),
    [
        ("def add(a, b): return a + b", PASSED, ""),
        ("def add(a, b): return a - b", WRONG, "assert add(1, 2) == "),
        ("def add(a, b): return None", WRONG, "assert add(1, 2) == "),
        ("def add(a, b) return a", COMPILE, "SyntaxError"),
        ("def add(a, b): return a + c", RUNTIME, "NameError"),
        ("def plus(a, b): return a + b", RUNTIME, "NameError"),
        ("raise ValueError('at once')", RUNTIME, "ValueError: at once"),
        ("", RUNTIME, "NameError"),
        ("import no_such_module", RUNTIME, "ModuleNotFoundError"),
    ],
)
@pytest.mark.parametrize(("tests", "trust"), [(CALLS, Trust.COMPARED_OUTSIDE), (MORE_THAN_CALLS, Trust.EXAMINED)])
def test_asserts(jails, program, verdict, message, tests, trust):
    """The same verdicts whether the test code is nothing but calls or needs its examiner."""
    report = jails.run(program, tests=tests)
    assert report.verdict is verdict
    assert message in report.cause.message.replace("subject", "add")
    assert report.trust is trust
    assert report.cause.kind is (CauseKind.NONE if verdict is PASSED else CauseKind.CANDIDATE)


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("print(int(input()) * 2)", PASSED),
        ("print(int(input()) + 2)", WRONG),
        ("print(int(input()) *", COMPILE),
        ("print(1 / 0)", RUNTIME),
        ("print(int(input()) * 2); raise SystemExit(3)", RUNTIME),
        ("print(int(input()) * 2); import os; os._exit(0)", WRONG),  # never flushed
    ],
)
def test_stdio(jails, program, verdict):
    tests = StdioTests(tests=(StdioTest(stdin=b"2\n", expected_stdout=b"4"), StdioTest(stdin=b"5\n", expected_stdout=b"10\n")))
    report = jails.run(program, tests=tests)
    assert report.verdict is verdict
    assert report.trust is Trust.COMPARED_OUTSIDE


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("def f(x, *, y): return [x, y]", PASSED),
        ("def f(x, *, y): return (x, y)", WRONG),
        ("def f(x): return [x, 2]", RUNTIME),
        ("def f(x, *, y): return object()", WRONG),
        ("def f(", COMPILE),
        ("import sys\ndef f(x, *, y): sys.exit(0)", RUNTIME),
        ("import os; os._exit(0)", RUNTIME),
    ],
)
def test_functions(jails, program, verdict):
    tests = FunctionTests(entry_point="f", tests=(FunctionTest(args=(1,), kwargs={"y": 2}, expected=[1, 2]),))
    report = jails.run(program, tests=tests)
    assert report.verdict is verdict, report
    assert report.trust is Trust.COMPARED_OUTSIDE


def test_the_traceback_is_the_programs_own(jails):
    """From the program's first frame on, with its lines, and nothing of the engine's."""
    report = jails.run("def f(x):\n    return 1 // x\n", tests=examined("assert f(0) == 1", "f"))
    assert 'File "solution.py", line 2, in f' in report.error
    assert "return 1 // x" in report.error
    assert "inside" not in report.error


def test_run_all_counts_every_assert(jails):
    """With RUN_ALL, asserts behind a failing one still run, in loops too."""
    code = "def check(f):\n    assert f(1) == 1\n    assert f(2) == 0\n    for n in range(5):\n        assert f(n) == n"
    report = jails.run("def f(x): return x", tests=examined(code, "f", check="check"), stop=StopRule.RUN_ALL)
    assert (report.verdict, report.tests_passed, report.tests_total) == (WRONG, 6, 7)
    assert [test.verdict for test in report.tests][:3] == [PASSED, WRONG, PASSED]


def test_first_failure_stops(jails):
    tests = StdioTests(tests=tuple(StdioTest(expected_stdout=text) for text in (b"a", b"b", b"a")))
    report = jails.run("print('a')", tests=tests)
    assert [test.verdict for test in report.tests] == [PASSED, WRONG, Verdict.NOT_RUN]


def test_an_assert_that_the_tests_catch_is_no_failure(jails):
    """Test code may expect an assertion to fail; its meaning is not changed by counting."""
    code = "try:\n    assert f(1) == 2\nexcept AssertionError:\n    pass\nassert f(3) == 3"
    for stop in StopRule:
        assert jails.run("def f(x): return x", tests=examined(code, "f"), stop=stop).verdict is PASSED


def test_exceptions_cross_with_their_types(jails):
    """Tests may expect built-in exceptions and the program's own."""
    program = (
        "class Empty(ValueError): pass\ndef pop(items):\n    if not items: raise Empty('nothing here')\n    return items.pop()"
    )
    code = (
        "items = [1]\nassert pop(items) == 1\nassert items == []\n"
        "try:\n    pop(items)\n    assert False\nexcept Empty as error:\n    assert str(error) == 'nothing here'\n"
        "try:\n    pop(items)\n    assert False\nexcept ValueError:\n    pass\n"
    )
    assert jails.run(program, tests=examined(code, "pop", "Empty")).verdict is PASSED


def test_classes_of_the_program_are_used_through_their_methods(jails):
    program = (
        "class Stack:\n    def __init__(self, items=()): self._items = list(items)\n"
        "    def push(self, item): self._items.append(item); return self\n    def __len__(self): return len(self._items)\n"
        "    def __iter__(self): return iter(self._items)\n    def __eq__(self, other): return self._items == other._items\n"
    )
    code = (
        "s = Stack([1])\ns.push(2).push(3)\nassert len(s) == 3\nassert list(s) == [1, 2, 3]\nassert 2 in s\nassert isinstance(s, Stack)\n"
        "assert s == Stack([1, 2, 3])\nassert s != Stack()\n"
    )
    report = jails.run(program, tests=examined(code, "Stack"))
    assert (report.verdict, report.trust) == (PASSED, Trust.EXAMINED_DELEGATED), report
    called = examined("s = Stack([1])\nassert s.push(2).push(3)._items == [1, 2, 3]", "Stack")
    assert jails.run(program, tests=called).trust is Trust.EXAMINED


def test_callables_cross_both_ways(jails):
    program = "def twice(f): return lambda x: f(f(x))\ndef apply(f, *, self, name): return f(self, name)"
    code = "assert twice(lambda x: x + 3)(1) == 7\nassert apply(max, self=1, name=2) == 2\nassert twice(str.upper)('a') == 'A'"
    assert jails.run(program, tests=examined(code, "twice", "apply")).verdict is PASSED


def test_calls_whose_results_are_no_plain_data_get_an_examiner(jails):
    """Test code that is nothing but calls means the same whatever the program returns."""
    program = "import collections\ndef f(x): return collections.OrderedDict(a=x)\ndef g(x): return [1, x]"
    report = jails.run(program, tests=examined("assert f(2) == {'a': 2}", "f"))
    assert (report.verdict, report.trust) == (PASSED, Trust.EXAMINED), report
    assert jails.run(program, tests=examined("assert f(2) == {'a': 3}", "f")).verdict is WRONG
    assert jails.run(program, tests=examined("assert g(2) == [1, 2]", "g")).trust is Trust.COMPARED_OUTSIDE


def test_results_too_long_to_read_are_output(jails):
    report = jails.run("def f(x): return 'a' * 3_000_000", tests=examined("assert f(2) == 'a'", "f"))
    assert (report.verdict, report.cause.limit) == (Verdict.OUTPUT_LIMIT, "output_bytes"), report


def test_unittest_classes_run(jails):
    code = (
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(f(1), 1)\n"
        "    def test_b(self): self.assertEqual(f(2), 3)\n"
    )
    report = jails.run("def f(x): return x", tests=examined(code, "f"))
    assert (report.verdict, report.tests_passed, report.tests_total) == (WRONG, 1, 2)


def test_tests_without_the_check_that_they_are_to_have_are_the_callers_fault(jails):
    with pytest.raises(BadJob, match="it defines no check"):
        jails.run("def f(x): return x", tests=examined("def test(f): assert f(1) == 1", "f", check="check"))


def test_test_code_that_cannot_run_is_the_callers_fault(jails):
    with pytest.raises(BadJob, match="test code cannot run"):
        jails.run("def f(x): return x", tests=examined("assert f(1", "f"))


def test_files_and_stdin_reach_the_program(jails):
    program = "import helper\nprint(helper.NAME, open('data/in.txt').read(), input())"
    files = {"helper.py": b"NAME = 'h'", "data/in.txt": b"text"}
    report = jails.run(program, files=files, stdin=b"line\n")
    assert (report.verdict, report.stdout) == (Verdict.FINISHED, b"h text line\n"), report


def test_compare_rules(jails):
    for rule, verdict in ((CompareRule.EXACT, WRONG), (CompareRule.LINES, WRONG), (CompareRule.TOKENS, PASSED)):
        tests = StdioTests(tests=(StdioTest(expected_stdout=b"1.0 2\n"),), compare=rule)
        assert jails.run("print('1.0000001', 2)", tests=tests).verdict is verdict


def test_a_program_without_tests_is_never_passed(jails):
    assert jails.run("print('PASSED')").verdict is Verdict.FINISHED


AS_A_PLAIN_INTERPRETER = {
    "the mode and name of stdin": ("import sys; print(sys.stdin.mode, sys.stdin.name)", b"r <stdin>\n"),
    "a second stream on stdout": ("out = open(1, 'w', closefd=False); out.write('x')", b"x"),
    "an output kept back": (
        "import io, sys; sys.stdout = io.StringIO(); print(42); sys.__stdout__.write(sys.stdout.getvalue())",
        b"42\n",
    ),
    "a closed stdout": ("import sys; print(1); sys.stdout.close()", b"1\n"),
    "no stdout": ("import sys; print(1); sys.stdout = None", b"1\n"),
    "bytes that are no text": ("print(input())", b"a\xffb\n"),
    "/dev/stdin": ("print(open('/dev/stdin', 'rb').read())", b"b'a\\xffb\\n'\n"),
    "what goes at the end": ("class A:\n    def __del__(self): print('gone')\na = A()", b"gone\n"),
    "its builtins": ("import builtins; print(__builtins__ is builtins, __annotations__)", b"True {}\n"),
    "where modules are looked for": ("import sys; print(sys.path[0])", b"/box\n"),
}


@pytest.mark.parametrize("name", AS_A_PLAIN_INTERPRETER)
def test_a_script_finds_what_a_plain_interpreter_has(jails, name):
    program, stdout = AS_A_PLAIN_INTERPRETER[name]
    report = jails.run(program, stdin=b"a\xffb\n")
    assert (report.verdict, report.stdout) == (Verdict.FINISHED, stdout), report


def test_an_excepthook_of_the_program_is_called(jails):
    report = jails.run("import sys; sys.excepthook = lambda kind, *rest: print(kind.__name__); 1 / 0")
    assert (report.verdict, report.stdout) == (Verdict.RUNTIME_ERROR, b"ZeroDivisionError\n"), report


def test_a_status_too_large_for_the_kernel_is_none_that_says_well(jails):
    assert jails.run("raise SystemExit(2**64)").exit_code == 255


@pytest.mark.parametrize(
    ("code", "check"),
    [
        ("import nosuchmodule\nassert f(1) == 1", ""),
        ("x = 1 / 0\nassert f(1) == 1", ""),
        ("data = open('not-there')\nassert f(1) == 1", ""),
        ("def test(c): assert c(1) == 1", "check"),
        ("assert f(1) == 1\nasync def check(c): assert c(1) == 2", "check"),
        ("assert f(1) == 1\ndef check(c): yield c(1) == 2", "check"),
        ("def test_f():\n    assert f(1) == 2", ""),
        ("import unittest\nclass T(unittest.TestCase):\n    def check_it(self): self.assertEqual(f(1), 2)", ""),
    ],
)
def test_a_fault_of_the_tests_is_not_the_programs(jails, code, check):
    """Else every sample of such a problem would be a wrong answer, and nobody would notice."""
    with pytest.raises(BadJob, match="test code cannot run"):
        jails.run("def f(x): return x", tests=AssertTests(code=code, entry_points=("f",), check=check))


@pytest.mark.parametrize(
    "program",
    [
        "f = 5",
        "class f: pass",
        "def f(x): return None",
        "def f(x): raise ImportError('no')",
        "pass",
        "import math as f",
        "f = (i for i in ())",
        "f = property(id)",
        "import enum\nf = enum.Enum('E', 'A').A",
    ],
)
def test_no_program_makes_its_failure_the_fault_of_the_tests(jails, program):
    """A program that could would end its caller's stream."""
    tests = AssertTests(code="import math\nassert math.sqrt(f(1) + 1) == 2 and [f(2)]", entry_points=("f",))
    assert jails.run(program, tests=tests).verdict in (Verdict.WRONG_ANSWER, Verdict.RUNTIME_ERROR)


@pytest.mark.parametrize(
    "code",
    [
        "assert f + 1 == 6",
        "if f < 5: raise ValueError(f)",
        "if not isinstance(f, int): raise TypeError",
        "if f != 5: raise ValueError",
    ],
)
def test_a_function_in_place_of_a_number_is_the_programs_failure(jails, code):
    """Such tests ask nothing of a function: what they do with it is seen to in their own process."""
    tests = AssertTests(code=code, entry_points=("f",))
    assert jails.run("f = 5", tests=tests).verdict is PASSED
    assert jails.run("def f(): pass", tests=tests).verdict is WRONG


def test_a_traceback_shows_the_programs_own_files(jails):
    report = jails.run("import json\njson.loads('{')")
    assert report.error.splitlines()[1:3] == ['  File "solution.py", line 2, in <module>', "    json.loads('{')"]
    assert "/json/" not in report.error


@pytest.mark.parametrize("stop", list(StopRule))
def test_a_program_with_many_tests_behaves_in_the_last_one_as_in_the_first(jails, stop):
    """Although it is compiled only once: the same names, the same traceback, and nothing of an earlier test is left."""
    program = """
from __future__ import annotations
import os, sys
def f(x: undefined) -> undefined:
    "Kept."
    return 1 / x
seen = os.path.exists("left")
open("left", "w").close()
print(__name__, __file__, f.__doc__, f.__annotations__, sys.argv, seen)
f(int(input()))
"""
    right = b"__main__ solution.py Kept. {'x': 'undefined', 'return': 'undefined'} ['solution.py'] False"
    tests = tuple(StdioTest(stdin=b"%d" % (number != 9), expected_stdout=right) for number in range(12))
    report = jails.run(program, tests=StdioTests(tests=tests), stop=stop)
    assert [test.verdict for test in report.tests[:9]] == [Verdict.PASSED] * 9
    assert report.tests[9].verdict is report.verdict is Verdict.RUNTIME_ERROR
    assert report.error.splitlines()[-2:] == ["           ~~^~~", "ZeroDivisionError: division by zero"]
    assert "return 1 / x" in report.error


def test_a_program_that_is_no_python_fails_many_tests_at_once(jails):
    tests = StdioTests(tests=(StdioTest(expected_stdout=b""),) * 12)
    report = jails.run("print(", tests=tests, stop=StopRule.RUN_ALL)
    assert report.verdict is report.tests[0].verdict is Verdict.COMPILE_ERROR


def test_a_program_that_leaves_the_tests_no_process_fails_them(jails):
    """They run in the same slot, so a thread that they cannot start is the program's doing."""
    program = """
import os, time
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
except OSError:
    pass
def f(x): return 2
"""
    code = "import threading\nthread = threading.Thread(target=id, args=(1,))\nthread.start()\nthread.join()\nassert f(1) == 2"
    tests = AssertTests(code=code, entry_points=("f",))
    assert jails.run("def f(x): return 2", tests=tests).verdict is Verdict.PASSED
    assert jails.run(program, tests=tests).verdict in (Verdict.PROCESS_LIMIT, Verdict.WRONG_ANSWER, Verdict.RUNTIME_ERROR)
