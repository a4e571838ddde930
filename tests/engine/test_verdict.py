"""The order of decision: limits that always hold, then what ended the program, and a program's own word last of all."""

import errno
import json
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import verdict
from engine.jail.inside.examiner import COUNTERS
from engine.jail.slot import report_bound
from engine.records import MIB, CauseKind, Limits, Trust, Verdict
from engine.verdict import CellFailed
from tests.engine.accounts import account, findings

LIMITS = Limits(
    cpu_time_ms=1_000,
    wall_time_ms=2_000,
    memory_bytes=128 * MIB,
    output_bytes=10_000,
    processes=16,
    open_files=64,
    file_size_bytes=8 * MIB,
)
OVER_OUTPUT = {"stdout_bytes": 10_001}
OVER_CPU = {"killed": "cpu", "status": -9}
OVER_WALL = {"killed": "wall", "status": -9, "wall_ns": 2_500_000_000}


def report(**said):
    return json.dumps(said).encode() + b"\n"


def raised(exception="ValueError", number=None, error="Traceback\nValueError: no", **facts):
    return verdict.raised(exception, number, error, account(candidate={"status": 1}, **facts), LIMITS)


def failed(index, message="wrong", from_program=False, exception="AssertionError", number=None):
    return [index, message, from_program, exception, number]


def examined(candidate=None, examiner=None, **facts):
    return verdict.examined(account(candidate=candidate, examiner=examiner or {}, **facts), LIMITS)


# The limits that always hold


@pytest.mark.parametrize(
    ("facts", "found", "limit", "measured", "allowed"),
    [
        ({"stdout_bytes": 10_001}, Verdict.OUTPUT_LIMIT, "output_bytes", 10_001, 10_000),
        ({"stderr_bytes": 10_007}, Verdict.OUTPUT_LIMIT, "output_bytes", 10_007, 10_000),
        (
            {"report_bytes": report_bound(LIMITS) + 1},
            Verdict.OUTPUT_LIMIT,
            "output_bytes",
            report_bound(LIMITS) + 1,
            10_000,
        ),
        ({"candidate": {"cpu_ns": 1_234_000_000}}, Verdict.TIME_LIMIT, "cpu_time_ms", 1_234, 1_000),
        ({"candidate": {"killed": "cpu", "cpu_ns": 999_000_000}}, Verdict.TIME_LIMIT, "cpu_time_ms", 1_000, 1_000),
        ({"candidate": OVER_WALL}, Verdict.WALL_TIME_LIMIT, "wall_time_ms", 2_500, 2_000),
    ],
)
def test_a_limit_is_named_with_what_was_measured_and_allowed(facts, found, limit, measured, allowed):
    """The cause holds the numbers, and the line for people says them."""
    outcome = verdict.over_hard_limit(account(**facts), LIMITS)
    assert outcome is not None
    assert outcome.verdict is found
    assert (outcome.cause.kind, outcome.cause.limit) == (CauseKind.LIMIT, limit)
    assert (outcome.cause.measured, outcome.cause.allowed) == (measured, allowed)
    assert outcome.cause.message.startswith(f"{limit}: {measured} measured, {allowed} allowed")


@pytest.mark.parametrize(
    "facts",
    [
        {"stdout_bytes": 10_000, "stderr_bytes": 10_000},
        {"report_bytes": report_bound(LIMITS)},
        {"candidate": {"cpu_ns": 1_000_000_000}},
        {"candidate": {"wall_ns": 9_000_000_000}},
        {"candidate": {"killed": "done", "status": -9}},
    ],
)
def test_what_is_exactly_at_its_limit_is_within_it(facts):
    """Time on the wall alone decides nothing: only the zygote knows how much of it was spent waiting for a core."""
    assert verdict.over_hard_limit(account(**facts), LIMITS) is None


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"candidate": OVER_CPU | {"killed": "cancelled"}, **OVER_OUTPUT}, Verdict.CANCELLED),
        ({"candidate": OVER_CPU, **OVER_OUTPUT}, Verdict.OUTPUT_LIMIT),
        ({"candidate": OVER_WALL | {"cpu_ns": 1_001_000_000}}, Verdict.TIME_LIMIT),
        ({"candidate": OVER_WALL, "oom_killed": True}, Verdict.WALL_TIME_LIMIT),
        ({"candidate": OVER_CPU, "oom_killed": True}, Verdict.MEMORY_LIMIT),
        ({"candidate": {"status": 1}, "oom_killed": True, "report": report(stage="compile", error="e")}, Verdict.MEMORY_LIMIT),
        ({"candidate": {"status": 1}, "oom_killed": True, "forks_refused": True}, Verdict.MEMORY_LIMIT),
    ],
)
def test_limits_are_looked_at_in_their_order(facts, found):
    """Taken back, output, memory that the kernel looked for in vain, CPU, wall, other memory: the earlier one is the verdict."""
    outcome = verdict.failure(account(**facts), LIMITS)
    assert outcome is not None
    assert outcome.verdict is found


@pytest.mark.parametrize("facts", [{"candidate": OVER_CPU}, {"candidate": OVER_WALL}, OVER_OUTPUT])
def test_limits_hold_for_tests_that_passed(facts):
    """What the examiner found does not outweigh what was measured."""
    well = examined(findings=findings(3, 0, state="done"))
    over = examined(findings=findings(3, 0, state="done"), **facts)
    assert well.outcome.verdict is Verdict.PASSED
    assert over.outcome.cause.kind is CauseKind.LIMIT
    assert (over.passed, over.total) == (3, 4)


@pytest.mark.parametrize("decide", [verdict.over_hard_limit, verdict.failure, verdict.left_early, verdict.examined])
def test_a_cell_that_never_became_a_program_is_the_engines_failure(decide):
    """Not even an output over its limit makes it the program's."""
    broken = account(candidate={"entered_ns": 0, "status": 99}, stderr=b"a cell could not be made\n", **OVER_OUTPUT)
    with pytest.raises(CellFailed, match=r"^a cell could not be made$"):
        decide(broken, LIMITS)


def test_a_silent_cell_is_named_by_its_exit_code():
    with pytest.raises(CellFailed, match=r"^exit code 99$"):
        verdict.over_hard_limit(account(candidate={"entered_ns": 0, "status": 99}), LIMITS)


# What ended the program


def test_memory_that_the_host_lacks_is_no_failure_of_the_program():
    """Even where it had used up its time as well: the kernel ended one of its processes that was within every limit."""
    for facts in ({"candidate": {"status": -9}}, {"candidate": OVER_CPU}, {}):
        with pytest.raises(CellFailed, match="host ran out of memory"):
            verdict.failure(account(**facts, host_out_of_memory=True), LIMITS)


def test_exit_code_0_is_no_failure():
    """Also where something was killed for memory or refused a fork on the way: the program lived with it."""
    assert verdict.failure(account(oom_killed=True, forks_refused=True), LIMITS) is None


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (3, "it ended with exit code 3"),
        (-signal.SIGSEGV, "it ended with signal SIGSEGV"),
        (-signal.SIGKILL, "it ended with signal SIGKILL"),
        (-63, "it ended with signal 63"),
    ],
)
def test_an_end_without_a_word_is_named(status, message):
    outcome = verdict.failure(account(candidate={"status": status}), LIMITS)
    assert outcome is not None
    assert (outcome.verdict, outcome.cause.message) == (Verdict.RUNTIME_ERROR, message)
    assert outcome.cause.kind is CauseKind.CANDIDATE


def test_a_file_that_grew_too_large_ends_by_its_signal():
    outcome = verdict.failure(account(candidate={"status": -signal.SIGXFSZ}), LIMITS)
    assert outcome is not None
    assert (outcome.verdict, outcome.cause.limit) == (Verdict.FILE_SIZE_LIMIT, "file_size_bytes")


def test_memory_reports_no_less_than_was_allowed():
    """The kernel kills at the limit, so the last reading may be below it."""
    outcome = verdict.failure(account(candidate={"status": -9}, oom_killed=True), LIMITS)
    assert outcome is not None
    assert outcome.cause.measured == outcome.cause.allowed == 128 * MIB
    higher = verdict.failure(account(candidate={"status": -9}, oom_killed=True, peak_memory_bytes=129 * MIB), LIMITS)
    assert higher is not None
    assert higher.cause.measured == 129 * MIB


def test_a_program_that_does_not_compile():
    """The last line of the error is the cause, the whole of it the error."""
    said = report(stage="compile", exception="SyntaxError", error='  File "solution.py", line 1\nSyntaxError: invalid syntax')
    outcome = verdict.failure(account(candidate={"status": 1}, report=said), LIMITS)
    assert outcome is not None
    assert (outcome.verdict, outcome.cause.message) == (Verdict.COMPILE_ERROR, "SyntaxError: invalid syntax")
    assert outcome.error.startswith('  File "solution.py"')


def test_the_last_report_counts():
    """A process may report calls and then what ended it; who left before that left early."""
    said = report(index=0, ok=1, rows=[]) + report(stage="run", exception="KeyError", error="Traceback\nKeyError: 'x'")
    assert verdict.left_early(account(candidate={"status": 1}, report=said), LIMITS).cause.message == "KeyError: 'x'"
    early = verdict.left_early(account(report=said), LIMITS)
    assert (early.verdict, early.cause.message) == (
        Verdict.RUNTIME_ERROR,
        "it left with exit code 0 before its tests were done",
    )


def test_the_report_of_a_call_says_nothing_of_the_end():
    """A line with an index is the result of a call, not the reason of an exit."""
    said = report(index=0, stage="compile", exception="SyntaxError", error="a lie")
    outcome = verdict.failure(account(candidate={"status": 5}, report=said), LIMITS)
    assert outcome is not None
    assert outcome.cause.message == "it ended with exit code 5"


# Exceptions


@pytest.mark.parametrize(
    ("exception", "number", "error", "found", "limit"),
    [
        ("MemoryError", None, "MemoryError", Verdict.MEMORY_LIMIT, "memory_bytes"),
        ("OSError", errno.ENOSPC, "OSError: no space", Verdict.MEMORY_LIMIT, "memory_bytes"),
        ("OSError", errno.EMFILE, "OSError: files", Verdict.OPEN_FILES_LIMIT, "open_files"),
        ("OSError", errno.EFBIG, "OSError: too big", Verdict.FILE_SIZE_LIMIT, "file_size_bytes"),
        ("BlockingIOError", errno.EAGAIN, "BlockingIOError: fork", Verdict.PROCESS_LIMIT, "processes"),
        ("RuntimeError", None, "RuntimeError: can't start new thread", Verdict.PROCESS_LIMIT, "processes"),
    ],
)
def test_exceptions_that_a_limit_raised(exception, number, error, found, limit):
    """Each names the limit that was met, with the traceback that tells where."""
    outcome = raised(exception, number, error)
    assert (outcome.verdict, outcome.cause.limit, outcome.error) == (found, limit, error)
    assert outcome.cause.allowed == getattr(LIMITS, limit)


def test_refused_forks_explain_any_other_exception():
    """A program that could not fork fails in its own way; memory and files say more exactly what went wrong."""
    assert raised(forks_refused=True).verdict is Verdict.PROCESS_LIMIT
    assert raised(forks_refused=False).verdict is Verdict.RUNTIME_ERROR
    assert raised("MemoryError", forks_refused=True).verdict is Verdict.MEMORY_LIMIT
    assert raised(number=errno.EMFILE, forks_refused=True).verdict is Verdict.OPEN_FILES_LIMIT


def test_an_ordinary_exception_is_named_by_its_last_line():
    outcome = raised(error="Traceback\n  line\nValueError: no")
    assert (outcome.verdict, outcome.cause.message) == (Verdict.RUNTIME_ERROR, "ValueError: no")
    assert raised("Strange", error="").cause.message == "Strange"


def test_errors_are_cut():
    """A traceback may be of any length; what is kept is bounded, for a limit as for a failure."""
    assert len(raised(error="x" * 100_000).error) == len(raised("MemoryError", error="x" * 100_000).error) < 10_000


# Reports that lie


SAID = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["index", "ok", "rows", "stage", "exception", "errno", "error", "verdict", "x"]), inner)
    ),
    max_leaves=8,
).map(lambda said: json.dumps(said).encode())


@given(SAID | st.binary(), st.sampled_from([0, 1, 3, -9, -11]), st.booleans(), st.booleans())
def test_no_report_passes_its_program(said, status, oom_killed, forks_refused):
    """Whatever a program that ended badly, or before its tests did, writes about itself, it has failed."""
    ended = account(candidate={"status": status}, report=said, oom_killed=oom_killed, forks_refused=forks_refused)
    outcome = verdict.left_early(ended, LIMITS)
    assert outcome.verdict not in (Verdict.PASSED, Verdict.FINISHED, Verdict.NOT_RUN, Verdict.INFRASTRUCTURE_ERROR)
    assert (verdict.failure(ended, LIMITS) is None) == (status == 0)


@given(SAID | st.binary(), st.sampled_from([{}, {"state": "gone"}]), st.integers(0, 9), st.integers(0, 9))
def test_no_report_passes_unfinished_tests(said, found, passed, unsuccessful):
    """The examiner says when the tests are done, and nobody else."""
    examination = examined(report=said, stdout=said[:1000], findings=findings(passed, unsuccessful, **found))
    assert examination.outcome.verdict is not Verdict.PASSED
    assert examination.passed < examination.total


@pytest.mark.parametrize(
    "said",
    [b"{" * 100_000, b"[" * 100_000, b'{"errno": 1' + b"0" * 10_000 + b"}", b"\xff\xfe", b"\n\n\n", b"[]", b'"text"', b"null"],
)
def test_unreadable_reports_count_as_none(said):
    outcome = verdict.failure(account(candidate={"status": 4}, report=said), LIMITS)
    assert outcome is not None
    assert outcome.cause.message == "it ended with exit code 4"


@pytest.mark.parametrize(("name", "number"), [(["x"], {"a": 1}), (None, "28"), (7, 1e308), ({}, None)])
def test_reports_of_other_types_are_a_runtime_error(name, number):
    """Where a name and a number should stand, anything may stand."""
    said = report(stage="run", exception=name, errno=number, error=[1, 2])
    outcome = verdict.failure(account(candidate={"status": 1}, report=said), LIMITS)
    assert outcome is not None
    assert outcome.verdict is Verdict.RUNTIME_ERROR


# Examined tests


def test_done_without_a_failure_is_passed():
    examination = examined(findings=findings(5, 0, state="done", delegated=False))
    assert (examination.outcome, examination.passed, examination.total) == (verdict.PASSED, 5, 5)
    assert (examination.failures, examination.trust) == ((), Trust.EXAMINED)


def test_tests_that_count_nothing_are_one_test():
    """Test code without an assert that came to its end is one test that passed."""
    examination = examined(findings=findings(0, 0, state="done"))
    assert (examination.outcome.verdict, examination.passed, examination.total) == (Verdict.PASSED, 1, 1)


def test_delegation_is_told():
    """Objects of the program that compared themselves lower the trust, also where tests failed."""
    assert examined(findings=findings(1, 0, state="done", delegated=True)).trust is Trust.EXAMINED_DELEGATED
    unsuccessful = findings(0, 1, state="done", delegated=True, failures=[failed(0)], error="")
    assert examined(findings=unsuccessful).trust is Trust.EXAMINED_DELEGATED


def test_done_with_failures_has_the_verdict_of_the_first():
    notes = [failed(1, "f(1) == 2: AssertionError"), failed(3, "boom", True, "ValueError")]
    examination = examined(findings=findings(2, 2, state="done", failures=notes, error="Traceback\nValueError: boom"))
    assert (examination.outcome.verdict, examination.outcome.cause.message) == (
        Verdict.WRONG_ANSWER,
        "f(1) == 2: AssertionError",
    )
    assert [(index, outcome.verdict) for index, outcome in examination.failures] == [
        (1, Verdict.WRONG_ANSWER),
        (3, Verdict.RUNTIME_ERROR),
    ]
    assert (examination.passed, examination.total) == (2, 4)


def test_a_failed_assert_has_no_traceback_of_the_programs():
    """The trace belongs to the exception that crossed, not to the comparison that failed."""
    examination = examined(findings=findings(0, 1, state="done", failures=[failed(0)], error="Traceback of another"))
    assert (examination.outcome.verdict, examination.outcome.error) == (Verdict.WRONG_ANSWER, "")


@pytest.mark.parametrize(
    ("note", "found", "kind", "message"),
    [
        (failed(0, "line: boom", True, "ValueError"), Verdict.RUNTIME_ERROR, CauseKind.CANDIDATE, "line: boom"),
        (failed(0, "m", True, "MemoryError"), Verdict.MEMORY_LIMIT, CauseKind.LIMIT, "memory_bytes"),
        (failed(0, "m", True, "OSError", errno.EMFILE), Verdict.OPEN_FILES_LIMIT, CauseKind.LIMIT, "open_files"),
        (failed(0, "m", False, "MemoryError"), Verdict.WRONG_ANSWER, CauseKind.CANDIDATE, "m"),
    ],
)
def test_an_exception_of_the_programs_keeps_its_line_of_the_tests(note, found, kind, message):
    """A limit is named as such; only what the program raised can be one."""
    outcome = examined(findings=findings(0, 1, state="done", failures=[note], error="Traceback")).outcome
    assert (outcome.verdict, outcome.cause.kind) == (found, kind)
    assert outcome.cause.message.startswith(message)


def test_tests_that_cannot_run_are_the_callers_fault():
    with pytest.raises(verdict.TestsUnusable, match=r"^NameError: name 'x'$"):
        examined(findings=findings(0, 0, state="unusable", error="NameError: name 'x'"))


def test_a_program_that_is_gone_is_told_by_its_own_end():
    """The examiner ended well since nobody was there any more: the account says how the program went."""
    gone = findings(2, 0, state="gone", failures=[], error="")
    left = examined(findings=gone)
    assert left.outcome.cause.message == "it left with exit code 0 before its tests were done"
    assert (left.passed, left.total, left.failures) == (2, 3, ((2, left.outcome),))
    assert examined({"status": 7}, findings=gone).outcome.cause.message == "it ended with exit code 7"
    assert examined({"status": -9}, findings=gone, oom_killed=True).outcome.verdict is Verdict.MEMORY_LIMIT


@pytest.mark.parametrize(("why", "found"), [("cpu", Verdict.TIME_LIMIT), ("wall", Verdict.WALL_TIME_LIMIT)])
def test_a_limit_that_is_over_before_the_program_began_is_a_limit(why, found):
    """A slot that took longer than a millisecond is not broken."""
    late = account(candidate={"entered_ns": 0, "status": -9, "killed": why})
    outcome = verdict.over_hard_limit(late, LIMITS)
    assert outcome is not None
    assert outcome.verdict is found


@pytest.mark.parametrize("why", ["cpu", "wall", "output"])
def test_who_left_before_the_examiner_was_ended_for_a_limit_left_early(why):
    """A program may leave what goes over a limit, such as a stdin that has grown, and go; no slot is broken by that."""
    left = examined(examiner={"status": -9, "killed": why}, findings=b"")
    assert (left.outcome.verdict, left.outcome.cause.kind) == (Verdict.RUNTIME_ERROR, CauseKind.CANDIDATE)


def test_findings_of_any_length_are_read_in_part():
    """Test code may write there itself, and reading sixty megabytes takes seconds."""
    long = COUNTERS.pack(9, 0) + b'{"state": "done", "failures": []' + b" " * (1 << 20) + b"}"
    assert examined(findings=long).outcome.verdict is not Verdict.PASSED


@pytest.mark.parametrize("left_over", [b"", b"{", b"\xff" * 100, b'{"state": "done"'])
@pytest.mark.parametrize("examiner", [{}, {"status": -9}, {"status": 99, "entered_ns": 0}])
def test_findings_cut_off_never_pass(left_over, examiner):
    """An examiner that was killed left its counters and no word: that is a failure of the program's, or the engine's."""
    try:
        outcome = examined(examiner=examiner, findings=COUNTERS.pack(9, 0) + left_over).outcome
    except CellFailed:
        assert examiner["status"] != 0
    else:
        assert outcome.verdict is Verdict.RUNTIME_ERROR


@pytest.mark.parametrize("short", [b"", b"\x01", COUNTERS.pack(1, 0)[:-1]])
def test_findings_shorter_than_their_counters(short):
    """Nothing was found yet, or not all of it: the program had left."""
    examination = examined(findings=short)
    assert examination.outcome.verdict is Verdict.RUNTIME_ERROR


def test_failures_before_an_end_stay_listed():
    """The end is one more failure, behind those that the tests found."""
    gone = findings(1, 1, state="gone", failures=[failed(0, "first")], error="")
    examination = examined({"status": 2}, findings=gone)
    assert [(index, outcome.cause.message) for index, outcome in examination.failures] == [
        (0, "first"),
        (2, "it ended with exit code 2"),
    ]
    assert examination.outcome.cause.message == "it ended with exit code 2"


@pytest.mark.parametrize(("facts", "found"), [(OVER_CPU, Verdict.TIME_LIMIT), (OVER_WALL, Verdict.WALL_TIME_LIMIT)])
def test_an_examiner_that_ends_with_its_program_is_not_broken(facts, found):
    """A limit ends both of them, and the limit is the verdict."""
    examination = examined(facts, {"killed": facts["killed"], "status": -9}, findings=findings(2, 0))
    assert (examination.outcome.verdict, examination.passed, examination.total) == (found, 2, 3)


def test_tests_that_the_programs_answers_make_slow():
    examination = examined(examiner={"killed": "tests", "status": -9, "cpu_ns": 3_100_000_000}, findings=findings(4, 0))
    assert (examination.outcome.verdict, examination.outcome.cause.measured) == (Verdict.TIME_LIMIT, 3_100)
    assert examination.outcome.cause.allowed == 1_000


def test_memory_of_both_is_one_memory():
    """Which of the two the kernel chose to kill does not matter."""
    examination = examined(examiner={"status": -9}, findings=findings(1, 0), oom_killed=True)
    assert examination.outcome.verdict is Verdict.MEMORY_LIMIT


def test_answers_that_crash_the_examiner_fail():
    examination = examined(examiner={"status": -signal.SIGSEGV}, findings=findings(1, 0))
    assert (examination.outcome.verdict, examination.outcome.cause.kind) == (Verdict.RUNTIME_ERROR, CauseKind.CANDIDATE)


@pytest.mark.parametrize(
    ("examiner", "message"),
    [
        ({"status": -9}, "the examiner ended with signal SIGKILL"),
        ({"status": 99, "entered_ns": 0}, "the examiner ended with exit code 99"),
        ({"status": -11, "entered_ns": 0}, "the examiner ended with signal SIGSEGV"),
    ],
)
def test_an_examiner_that_broke_is_the_engines_failure(examiner, message):
    with pytest.raises(CellFailed, match=f"^{message}$"):
        examined(examiner=examiner, findings=findings(1, 0))


def test_what_a_program_wrote_to_the_file_of_its_stdin_is_output():
    """The zygote ends it for that, and the engine reads no such file: the zygote's word is all there is."""
    outcome = verdict.failure(account(candidate={"status": -9, "killed": "output"}), LIMITS)
    assert outcome is not None
    assert (outcome.verdict, outcome.cause.limit) == (Verdict.OUTPUT_LIMIT, "output_bytes")
    assert outcome.cause.measured > outcome.cause.allowed


@pytest.mark.parametrize("text", [b"[1]", b"null", b'"x"', b"[" * 100_000])
def test_findings_of_another_form_pass_nothing(text):
    found = examined(examiner={}, findings=findings(1) + text)
    assert found.outcome.verdict is not Verdict.PASSED


@pytest.mark.parametrize(
    "candidate", [{"status": -9, "killed": "cpu"}, {"status": -9, "cpu_ns": 2 * LIMITS.cpu_time_ms * 1_000_000}]
)
@pytest.mark.parametrize("how", ["memory_refused", "oom_killed"])
def test_time_that_went_into_looking_for_memory_is_a_matter_of_memory(candidate, how):
    """A kernel with nothing left looks for memory in the program's own time: how long depends on what else the machine does."""
    outcome = verdict.failure(account(candidate=candidate, **{how: True}), LIMITS)
    assert outcome is not None
    assert outcome.verdict is Verdict.MEMORY_LIMIT
