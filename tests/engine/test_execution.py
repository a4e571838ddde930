"""A job as orders to a slot, and the accounts of it as a report. The slot is a fake that notes its orders."""

import json
import marshal
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadJob
from engine.execution import execute
from engine.jail.inside.candidate import result_line
from engine.jail.inside.messages import EXAMINED, PREPARATION, PROGRAM
from engine.jail.inside.preparing import READY
from engine.preparation import PreparedTests
from engine.records import (
    AssertTests,
    CauseKind,
    CompareRule,
    FunctionTest,
    FunctionTests,
    Job,
    Limits,
    StdioTest,
    StdioTests,
    StopRule,
    Trust,
    Verdict,
)  # fmt: skip
from engine.verdict import CellFailed
from tests.engine.accounts import account, findings

PASSED, WRONG, RUNTIME, NOT_RUN = Verdict.PASSED, Verdict.WRONG_ANSWER, Verdict.RUNTIME_ERROR, Verdict.NOT_RUN
RUN_ALL = StopRule.RUN_ALL
SECRET = "a text that nobody guesses"
PREPARED = account(findings=READY + b"code of the tests")
CALLS = AssertTests(code="assert f(1) == 2\nassert f(2) == 3\nassert f(3) == 4\n", entry_points=("f",))
MORE_THAN_CALLS = AssertTests(code="two = f(0) + 1\nassert f(1) == two\nassert f(2) == two\n", entry_points=("f",))
FUNCTIONS = FunctionTests(
    entry_point="f",
    tests=(FunctionTest(args=(1,), expected=2), FunctionTest(kwargs={"n": 2}, expected=3), FunctionTest(args=(3,), expected=4)),
)
STDIO = StdioTests(tests=tuple(StdioTest(stdin=text, expected_stdout=text.upper()) for text in (b"a", b"b", b"c")))


class FakeSlot:
    """Gives the accounts that it was made with, in that order; test code is always ready at once."""

    def __init__(self, *accounts):
        self.orders = []
        self.preparations = []
        self._accounts = list(accounts)

    async def run(self, order):
        if order.kind == PREPARATION:
            self.preparations.append(order)
            return PREPARED
        self.orders.append(order)
        return self._accounts.pop(0)


async def executed(tests, *accounts, slot=None, **fields):
    slot = slot or FakeSlot(*accounts)
    job = Job(**({"id": "job", "program": "def f(n): ...", "tests": tests, "limits": Limits()} | fields))
    return await execute(job, slot.run, PreparedTests()), slot


def results(*values):
    """The report of a program whose calls gave these."""
    return b"".join(result_line(index, value) for index, value in enumerate(values))


def line(index, **said):
    return json.dumps({"index": index, **said}).encode() + b"\n"


def verdicts(report):
    return [test.verdict for test in report.tests]


def work_of(order):
    return marshal.loads(order.work)


# No tests


async def test_a_program_without_tests_finishes():
    """FINISHED is all that it can reach, with what it wrote and used."""
    report, slot = await executed(None, account(stdout=b"42\n", stderr=b"!"), stdin=b"6 7")
    assert (report.verdict, report.trust, report.tests, report.tests_total) == (Verdict.FINISHED, Trust.NOT_TESTED, (), 0)
    assert (report.id, report.stdout, report.stderr, report.exit_code) == ("job", b"42\n", b"!", 0)
    assert (report.cpu_time_ms, report.wall_time_ms, report.peak_memory_bytes) == (5.0, 7.0, 1 << 20)
    assert [(order.kind, order.stdin, order.tests) for order in slot.orders] == [(PROGRAM, b"6 7", b"")]


async def test_a_program_without_tests_fails_as_it_ended():
    report, _ = await executed(None, account(candidate={"status": 3}))
    assert (report.verdict, report.exit_code, report.cause.kind) == (RUNTIME, 3, CauseKind.CANDIDATE)


async def test_the_order_carries_the_job():
    """Program, files and limits of the job, and nothing else of it."""
    limits = Limits(cpu_time_ms=77)
    _, slot = await executed(None, account(), program="print('\udc80')", files={"a/b": b"c"}, limits=limits)
    (order,) = slot.orders
    assert order.limits is limits
    assert work_of(order) == {
        "kind": "script",
        "source": "print('\udc80')".encode("utf-8", "surrogatepass"),
        "files": {"a/b": b"c"},
        "calls": b"",
        "code": b"",
    }


async def test_a_program_given_as_bytes_goes_as_it_is():
    """What is no UTF-8 is for the program's own interpreter to refuse."""
    _, slot = await executed(None, account(), program=b"# \xff")
    assert work_of(slot.orders[0])["source"] == b"# \xff"


async def test_outputs_that_were_cut_are_marked():
    report, _ = await executed(None, account(stdout=b"abc", stdout_bytes=4, stderr=b"abc"))
    assert (report.stdout_truncated, report.stderr_truncated) == (True, False)
    report, _ = await executed(None, account(stdout=b"abc", stderr=b"abc", stderr_bytes=4))
    assert (report.stdout_truncated, report.stderr_truncated) == (False, True)


# Standard input and output


async def test_stdio_runs_the_program_once_per_test():
    """Each time anew, with that test's input; the report is on all of them."""
    report, slot = await executed(STDIO, *(account(stdout=text) for text in (b"A", b"B\n", b"C")))
    assert (report.verdict, report.tests_passed, report.tests_total) == (PASSED, 3, 3)
    assert report.trust is Trust.COMPARED_OUTSIDE
    assert [order.stdin for order in slot.orders] == [b"a", b"b", b"c"]
    assert len({order.work for order in slot.orders}) == 1


async def test_stdio_stops_at_the_first_failure():
    """What is behind it does not run, and says so."""
    report, slot = await executed(STDIO, account(stdout=b"A"), account(stdout=b"x"))
    assert (report.verdict, verdicts(report)) == (WRONG, [PASSED, WRONG, NOT_RUN])
    assert (report.tests_passed, report.tests_total, len(slot.orders)) == (1, 3, 2)
    assert report.cause.message == report.tests[1].message == "line 1: expected 'B', got 'x'"


async def test_stdio_runs_all_where_it_is_told_to():
    """The verdict is that of the first test that failed."""
    accounts = account(stdout=b"x"), account(candidate={"status": 1}), account(stdout=b"C")
    report, slot = await executed(STDIO, *accounts, stop=RUN_ALL)
    assert (report.verdict, verdicts(report)) == (WRONG, [WRONG, RUNTIME, PASSED])
    assert (report.tests_passed, len(slot.orders)) == (1, 3)


async def test_the_rule_of_comparison_is_the_tests():
    tests = StdioTests(tests=(StdioTest(expected_stdout=b"1 2"),), compare=CompareRule.TOKENS)
    assert (await executed(tests, account(stdout=b"1\n2\n")))[0].verdict is PASSED
    exact = StdioTests(tests=tests.tests, compare=CompareRule.EXACT)
    assert (await executed(exact, account(stdout=b"1 2\n")))[0].verdict is WRONG


@pytest.mark.parametrize("stop", StopRule)
async def test_a_compile_error_ends_testing(stop):
    """It is the same for every input, so it is found once."""
    said = json.dumps({"stage": "compile", "exception": "SyntaxError", "error": "SyntaxError: no"}).encode()
    report, slot = await executed(STDIO, account(candidate={"status": 1}, report=said), stop=stop)
    assert (report.verdict, verdicts(report)) == (Verdict.COMPILE_ERROR, [Verdict.COMPILE_ERROR, NOT_RUN, NOT_RUN])
    assert len(slot.orders) == 1


async def test_a_program_that_is_taken_back_runs_no_further_test():
    report, slot = await executed(STDIO, account(candidate={"killed": "cancelled", "status": -9}), stop=RUN_ALL)
    assert (report.verdict, len(slot.orders)) == (Verdict.CANCELLED, 1)


async def test_the_right_output_does_not_excuse_the_end():
    """An exit code, or a limit, decides before the output is looked at."""
    for candidate, found in (({"status": 3}, RUNTIME), ({"killed": "cpu", "status": -9}, Verdict.TIME_LIMIT)):
        report, _ = await executed(STDIO, account(stdout=b"A", candidate=candidate))
        assert (report.verdict, report.tests_passed) == (found, 0)


MANY = StdioTests(tests=(StdioTest(expected_stdout=b"x"),) * 10)
RIGHT = account(stdout=b"x")


async def test_a_program_with_many_tests_is_compiled_once_after_the_first_ones():
    """What came of it goes into the later orders; it is no test, and what it took is counted."""
    report, slot = await executed(MANY, RIGHT, RIGHT, account(report=b"code"), *[RIGHT] * 8)
    works = [work_of(order) for order in slot.orders]
    assert [work["kind"] for work in works] == ["script"] * 2 + ["compilation"] + ["script"] * 8
    assert [work["code"] for work in works] == [b""] * 3 + [b"code"] * 8
    assert (report.verdict, report.tests_passed, report.tests_total) == (PASSED, 10, 10)
    assert report.cpu_time_ms == 11 * 5.0
    assert sum(test.cpu_time_ms for test in report.tests) == 10 * 5.0


async def test_a_program_that_fails_the_first_of_many_tests_is_compiled_for_nobody():
    report, slot = await executed(MANY, account(stdout=b"y"))
    assert (report.verdict, len(slot.orders)) == (WRONG, 1)


async def test_a_program_with_few_tests_is_not_compiled_ahead():
    _, slot = await executed(StdioTests(tests=MANY.tests[:9]), *[RIGHT] * 9)
    assert {work_of(order)["kind"] for order in slot.orders} == {"script"}


@pytest.mark.parametrize(
    "compilation",
    [account(candidate={"status": 1}, report=b"said"), account(report=b"cut", report_bytes=99)],
    ids=["failed", "cut"],
)
async def test_where_compiling_ahead_fails_every_test_does_it_for_itself(compilation):
    report, slot = await executed(MANY, RIGHT, RIGHT, compilation, *[RIGHT] * 8)
    assert report.verdict is PASSED
    assert {work_of(order)["code"] for order in slot.orders} == {b""}


async def test_times_are_those_of_each_test_and_their_sum():
    """Of memory it is the most, and outputs are those of the run that came last."""
    accounts = [
        account(stdout=text, candidate={"cpu_ns": cpu, "wall_ns": 2 * cpu}, peak_memory_bytes=peak)
        for text, cpu, peak in ((b"A", 1_000_000, 5), (b"B", 2_500_000, 9), (b"C", 4_000_000, 7))
    ]
    report, _ = await executed(STDIO, *accounts)
    assert [test.cpu_time_ms for test in report.tests] == [1.0, 2.5, 4.0]
    assert [test.index for test in report.tests] == [0, 1, 2]
    assert (report.cpu_time_ms, report.wall_time_ms, report.peak_memory_bytes, report.stdout) == (7.5, 15.0, 9, b"C")


# Calls: function tests, and asserts that are but calls


@pytest.mark.parametrize("tests", [FUNCTIONS, CALLS])
async def test_calls_are_one_order(tests):
    """All of them in one cell, their results compared here; nothing is known of the time of each."""
    report, slot = await executed(tests, account(report=results(2, 3, 4)))
    assert (report.verdict, report.tests_passed, report.tests_total) == (PASSED, 3, 3)
    assert report.trust is Trust.COMPARED_OUTSIDE
    assert [(order.kind, order.tests) for order in slot.orders] == [(PROGRAM, b"")]
    assert [test.cpu_time_ms for test in report.tests] == [0.0] * 3
    assert slot.preparations == []


@pytest.mark.parametrize("tests", [FUNCTIONS, CALLS])
async def test_results_are_right_by_bytes_or_by_what_they_mean(tests):
    """An equal value that is written otherwise is as good: 2.0 for 2, other white space, a table with spare rows."""
    said = result_line(0, 2.0) + b'{"index": 1, "ok":3,"rows": []}\n' + b'{"index": 2, "ok": 4, "rows": [["list", []]]}\n'
    report, _ = await executed(tests, account(report=said))
    assert report.verdict is PASSED


@pytest.mark.parametrize("tests", [FUNCTIONS, CALLS])
async def test_a_wrong_result_stops_or_not(tests):
    """All results are there at once: the rule only says how far they are looked at."""
    said = results(2, 0, 4)
    first, _ = await executed(tests, account(report=said))
    every, _ = await executed(tests, account(report=said), stop=RUN_ALL)
    assert (verdicts(first), first.tests_passed) == ([PASSED, WRONG, NOT_RUN], 1)
    assert (verdicts(every), every.tests_passed) == ([PASSED, WRONG, PASSED], 2)
    assert first.verdict is every.verdict is WRONG
    assert first.cause.message.endswith("expected 3, got 0")


async def test_a_failed_assert_is_quoted():
    report, _ = await executed(CALLS, account(report=results(2, 0, 4)))
    assert report.cause.message == "assert f(2) == 3: expected 3, got 0"


@pytest.mark.parametrize("stop", StopRule)
@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({}, RUNTIME),
        ({"candidate": {"status": -11}}, RUNTIME),
        ({"candidate": {"killed": "cpu", "status": -9}}, Verdict.TIME_LIMIT),
        ({"candidate": {"status": -9}, "oom_killed": True}, Verdict.MEMORY_LIMIT),
    ],
)
async def test_a_missing_line_is_a_failure(facts, found, stop):
    """The program left, or was ended, before that call had returned; no later one can have run."""
    report, _ = await executed(FUNCTIONS, account(report=results(2), **facts), stop=stop)
    assert (report.verdict, verdicts(report)) == (found, [PASSED, found, NOT_RUN])


async def test_a_limit_counts_although_all_results_are_right():
    """Of one process for all tests nobody knows which was too slow, so it is the last one."""
    report, _ = await executed(FUNCTIONS, account(report=results(2, 3, 4), candidate={"killed": "wall", "status": -9}))
    assert (report.verdict, verdicts(report)) == (Verdict.WALL_TIME_LIMIT, [PASSED, PASSED, Verdict.WALL_TIME_LIMIT])


@pytest.mark.parametrize("noise", [b"\n", b'{"index": 999999, "ok": 2, "rows": []}\n', result_line(0, 2)])
async def test_a_report_is_not_searched_for_ever(noise):
    """Behind as many lines as calls and a constant nothing is looked for, whatever they say."""
    many, few = noise * 10_000 + results(2, 3, 4), noise * 1_000 + results(2, 3, 4)
    assert (await executed(FUNCTIONS, account(report=many)))[0].verdict is RUNTIME
    assert (await executed(FUNCTIONS, account(report=few)))[0].verdict is PASSED


@pytest.mark.parametrize(("expected", "equal"), [([0] * 1000, [1e-300 + 0j] * 1000), ([1] * 1000, [1 + 0j] * 1000), (7, (7.0))])
async def test_a_right_result_may_take_more_bytes_than_the_expected_one(expected, equal):
    tests = FunctionTests(entry_point="f", tests=(FunctionTest(expected=expected),), float_tolerance=1e-9)
    assert (await executed(tests, account(report=results(equal))))[0].verdict is PASSED


@pytest.mark.parametrize("tests", [FUNCTIONS, CALLS])
async def test_a_result_that_is_far_too_long_is_wrong_without_being_read(tests):
    """Reading one may take memory and the time of other clients; what is read of JSON is seen by what stands behind it."""
    said = line(0, ok=2, rows=[], padding="x" * (1 << 20)) + results(2, 3, 4)
    report, _ = await executed(tests, account(report=said))
    assert (verdicts(report)[0], report.verdict) == (WRONG, WRONG)
    assert report.cause.message.endswith("much longer than what is expected")


async def test_an_exception_with_the_longest_traceback_is_read():
    said = line(0, stage="call", exception="ValueError", errno=None, error="\U0001f600" * 4_003)
    assert (await executed(FUNCTIONS, account(report=said)))[0].verdict is RUNTIME


async def test_what_only_has_to_be_true_may_be_long():
    tests = AssertTests(code="assert f(1)\n", entry_points=("f",))
    assert (await executed(tests, account(report=results(list(range(50_000))))))[0].verdict is PASSED


async def test_outputs_of_tests_are_not_kept_together():
    """Of many tests, each with much output, only the last one's is reported."""
    tests = StdioTests(tests=(StdioTest(stdin=b"", expected_stdout=b"x"),) * 50)

    class Printing:
        async def run(self, order):
            return account(stdout=bytes(1 << 20), stderr=bytes(1 << 20))

    tracemalloc.start()
    try:
        report, _ = await executed(tests, slot=Printing(), stop=RUN_ALL)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (report.verdict, len(report.stdout)) == (WRONG, 1 << 20)
    assert peak < 20 << 20


async def test_the_first_line_of_a_call_counts():
    """Who writes a second one cannot take the first one back."""
    report, _ = await executed(FUNCTIONS, account(report=results(0) + results(2, 3, 4)))
    assert verdicts(report)[0] is WRONG


@pytest.mark.parametrize(
    "said",
    [
        b'{"index": 0, "ok": 2, "rows": []}',
        b'{"index": 00, "ok": 2, "rows": []} \n',
        b' {"index": 0, "ok": 2, "rows": []}\n',
        b'{"ok": 2, "index": 0, "rows": []}\n',
        b'{"index": 0, "ok": 2, "rows": [}\n',
        b'{"index": 0, "ok": 2}\n',
        b'{"index": 0, "rows": []}\n',
        b'{"index": 0, "ok": [0], "rows": [["int", "0y2"]]}\n',
        b'{"index": 0, "ok": [1], "rows": [["scalar", 2]]}\n',
        b'{"index": 1, "ok": 2, "rows": []}\n',
        b'{"index": 0, "ok": [-1], "rows": [["scalar", 2]]}\n',
        b'{"index": 0, "ok": {"2": 2}, "rows": []}\n',
        b'{"index": 0, "ok": 2, "rows": {"a": 1}}\n',
        b'{"index": 0, "ok": 2, "rows": [["range", [1, 2, 3]]]}\n',
        b'{"index": 0, "ok": "2", "rows": []}\n',
        b'{"index": 0, "ok": ' + b"9" * 10_000 + b"}\n",
        b'{"index": 0, "ok": ' + b"[" * 100_000 + b"}\n",
        b'{"index": 0, "\xff": 2}\n',
        b'{"index": 9999999999, "ok": 2, "rows": []}\n',
        b'{"index": 0, "opaque": "Any"}\n',
        b'{"index": 0, "opaque": {"a": [2]}}\n',
    ],
)
async def test_lines_that_no_honest_candidate_writes_pass_nothing(said):
    """What is unreadable, incomplete, no plain data or out of its place is a failure of that call."""
    tests = FunctionTests(entry_point="f", tests=(FunctionTest(expected=2),))
    report, _ = await executed(tests, account(report=said))
    assert report.verdict in (WRONG, RUNTIME)
    assert report.tests_passed == 0


@pytest.mark.parametrize("said", [b"\n", b"a\n", b'{"index": 1, "ok": 1}\n', b'{"index": 1, ' + b"}" * 999])
async def test_reading_a_report_takes_no_more_memory_than_the_report(said):
    """However many lines a program makes of what it may write."""
    report = said * (4_000_000 // len(said))
    tracemalloc.start()
    try:
        await executed(FunctionTests(entry_point="f", tests=(FunctionTest(expected=SECRET),)), account(report=report))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(report)


def execution_of(said):
    """The report of a program that said so, of which nothing else is asked."""
    tests = FunctionTests(entry_point="f", tests=(FunctionTest(expected=SECRET),))
    with pytest.raises(StopIteration) as done:
        executed(tests, account(report=said)).send(None)
    return done.value.value[0]


@given(st.binary() | st.binary().map(lambda data: b'{"index": 0, ' + data + b"}\n"))
def test_any_report_has_a_verdict(said):
    """Reading what a program wrote raises nothing, and what was not expected does not pass."""
    found = execution_of(said).verdict
    assert found in (WRONG, RUNTIME, Verdict.MEMORY_LIMIT, Verdict.OPEN_FILES_LIMIT, Verdict.FILE_SIZE_LIMIT)


async def test_an_exception_of_a_call():
    """It fails that call, with its traceback, and the next one has its own result."""
    said = line(0, stage="call", exception="KeyError", errno=None, error="Traceback\nKeyError: 1") + line(1, ok=3, rows=[])
    report, _ = await executed(FUNCTIONS, account(report=said + result_line(2, 4)), stop=RUN_ALL)
    assert verdicts(report) == [RUNTIME, PASSED, PASSED]
    assert (report.cause.message, report.error) == ("KeyError: 1", "Traceback\nKeyError: 1")


async def test_an_exception_that_a_limit_raised():
    said = line(0, stage="call", exception="MemoryError", errno=None, error="MemoryError")
    report, _ = await executed(FUNCTIONS, account(report=said))
    assert (report.verdict, report.cause.limit) == (Verdict.MEMORY_LIMIT, "memory_bytes")


async def test_a_tolerance_reaches_the_comparison():
    """Only function tests have one."""
    near = FunctionTests(entry_point="f", tests=(FunctionTest(expected=1.0),), float_tolerance=0.1)
    assert (await executed(near, account(report=results(1.05))))[0].verdict is PASSED
    assert (await executed(near, account(report=results(1.5))))[0].verdict is WRONG


async def test_arguments_that_are_no_data_are_a_bad_job():
    """Before anything runs."""
    slot = FakeSlot()
    tests = FunctionTests(entry_point="f", tests=(FunctionTest(expected=1), FunctionTest(args=(object(),), expected=1)))
    with pytest.raises(BadJob, match="function test 1"):
        await executed(tests, slot=slot)
    assert slot.orders == []


# Examined asserts


async def test_other_test_code_is_examined():
    """Once made ready it goes to the examiner, and the program to the candidate."""
    report, slot = await executed(MORE_THAN_CALLS, account(examiner={}, findings=findings(2, 0, state="done")))
    assert (report.verdict, report.tests_passed, report.tests_total) == (PASSED, 2, 2)
    assert (report.trust, verdicts(report)) == (Trust.EXAMINED, [PASSED, PASSED])
    assert [order.kind for order in slot.orders] == [EXAMINED]
    assert len(slot.preparations) == 1
    assert work_of(slot.orders[0])["kind"] == "asserts"
    assert marshal.loads(slot.orders[0].tests)["prepared"] == b"code of the tests"


async def test_opaque_results_lead_to_an_examined_run():
    """A result that is no plain data can only be judged beside the program; what the calls gave is forgotten."""
    opaque = account(report=result_line(0, 2) + line(1, opaque="Money") + result_line(2, 4), stdout=b"first")
    report, slot = await executed(CALLS, opaque, account(examiner={}, findings=findings(3, 0, state="done")))
    assert [order.kind for order in slot.orders] == [PROGRAM, EXAMINED]
    assert (report.verdict, report.trust, report.stdout) == (PASSED, Trust.EXAMINED, b"")


async def test_failures_of_an_examination_are_listed_by_index():
    """The counts are the examiner's; what is not among the failures passed."""
    notes = [[1, "assert f(2) == two: AssertionError", False, "AssertionError", None]]
    found = findings(2, 1, state="done", failures=notes, error="")
    report, _ = await executed(MORE_THAN_CALLS, account(examiner={}, findings=found), stop=RUN_ALL)
    assert (report.verdict, report.tests_passed, report.tests_total) == (WRONG, 2, 3)
    assert verdicts(report) == [PASSED, WRONG, PASSED]
    assert report.tests[1].message == report.cause.message == notes[0][1]


async def test_a_long_list_of_results_is_cut_and_its_counts_are_not():
    """Test code may count its asserts in millions."""
    report, _ = await executed(MORE_THAN_CALLS, account(examiner={}, findings=findings(2_000_000, 0, state="done")))
    assert (report.tests_passed, report.tests_total, len(report.tests)) == (2_000_000, 2_000_000, 1_000)


async def test_results_end_where_the_noted_failures_do():
    """The examiner notes the first failures only; what is not known to have passed is not listed as passed."""
    noted = [[index, "wrong", False, "AssertionError", None] for index in range(100)]
    found = findings(0, 150, state="done", failures=noted, error="")
    report, _ = await executed(MORE_THAN_CALLS, account(examiner={}, findings=found), stop=RUN_ALL)
    assert (report.tests_passed, report.tests_total) == (0, 150)
    assert verdicts(report) == [WRONG] * 100


async def test_test_code_that_cannot_run_is_a_bad_job():
    found = findings(0, 0, state="unusable", error="NameError: two")
    with pytest.raises(BadJob, match=r"the test code cannot run: NameError: two"):
        await executed(MORE_THAN_CALLS, account(examiner={}, findings=found))


@pytest.mark.parametrize("tests", [None, STDIO, FUNCTIONS, CALLS, MORE_THAN_CALLS])
async def test_a_cell_that_broke_is_no_verdict(tests):
    """Whoever runs the job learns that it was not the program's fault."""
    with pytest.raises(CellFailed):
        await executed(tests, account(candidate={"entered_ns": 0, "status": 99}, examiner={}))


# What a candidate is told


SECRET = "what-only-the-tests-know"
LEAKS: dict[str, Any] = {
    "stdout": StdioTests(tests=(StdioTest(stdin=b"1", expected_stdout=SECRET.encode()), StdioTest(expected_stdout=b"x"))),
    "result": FunctionTests(entry_point="f", tests=(FunctionTest(args=(1,), expected=SECRET),)),
    "key of a result": FunctionTests(entry_point="f", tests=(FunctionTest(args=(1,), expected={SECRET: [1]}),)),
    "assert": AssertTests(code=f"assert f(1) == {SECRET!r}", entry_points=("f",)),
    "assert the other way round": AssertTests(code=f"assert {SECRET!r} == f(1)", entry_points=("f",)),
    "message of an assert": AssertTests(code=f"assert f(1) == 2, {SECRET!r}", entry_points=("f",)),
    "constant beside asserts": AssertTests(code=f"x = {SECRET!r}\nassert f(1) == 2", entry_points=("f",)),
    "check": AssertTests(
        code=f"def check(g):\n    {SECRET!r}\n    assert g(1) == {SECRET!r}", entry_points=("f",), check="check"
    ),
    "more than calls": AssertTests(code=f"x = [{SECRET!r}]\nassert f(1) in x", entry_points=("f",)),
    "prompt": AssertTests(code="assert f(1) == 2", entry_points=("f",), prompt=f"SOLUTION = {SECRET!r}\n"),
}


def told(order):
    """Everything that a candidate reads, and what the calls in it say."""
    work = work_of(order)
    return order.work + order.stdin + (repr(marshal.loads(work["calls"])).encode() if work["calls"] else b"")


@pytest.mark.parametrize("tests", LEAKS.values(), ids=LEAKS)
async def test_what_is_expected_is_in_no_candidates_work(tests):
    """Neither at first, nor when a result was opaque and its tests are examined; the examiner's part goes elsewhere."""
    opaque = account(report=line(0, opaque="X"), examiner={}, findings=findings(1, 0, state="done"))
    _, slot = await executed(tests, opaque, opaque, stop=RUN_ALL)
    assert slot.orders
    assert all(SECRET.encode() not in told(order) for order in slot.orders)


@given(st.integers(10**9, 10**18), st.floats(1e9, 1e18))
def test_numbers_that_are_expected_are_in_no_candidates_work(number, distance):
    """As in the calls that they are expected of; what the calls are given is there, so that the look at it means something."""
    code = f"assert f(31337) == {number}\nassert abs(f(1) - {distance!r}) < 1e-6\nassert f(2) is None\nassert {number}.5 == f(3)"
    tests = AssertTests(code=code, entry_points=("f",))
    slot = FakeSlot(account())
    with pytest.raises(StopIteration):
        executed(tests, slot=slot).send(None)
    (order,) = slot.orders
    assert b"31337" in told(order)
    assert str(number).encode() not in told(order)
    assert repr(distance).encode() not in told(order)
    assert b"1e-06" not in told(order)
    assert b"None" not in told(order)
