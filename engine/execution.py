"""Runs one job in one slot: makes the orders, gives the accounts to the judges, puts the report together.

no tests        one order, FINISHED at best
stdin/stdout    one order per test, each in a fresh cell; the output is compared here. Where there are many, the program is
                compiled once, in a cell that does not run it, so that no test tells the next one anything
functions       one order; the results are decoded and compared here
asserts         as functions where they are but calls, else one order with an examiner, whose findings are judged
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from engine import compare, orders, verdict
from engine.calls import Calls, calls_of_asserts, calls_of_functions, has_many_values
from engine.errors import BadJob
from engine.expectations import Expectation, longest_line
from engine.jail.inside.decoding import Decoder, Malformed, PlainData
from engine.jail.slot import Account, Order
from engine.preparation import PreparedTests
from engine.records import (
    AssertTests,
    FunctionTests,
    Job,
    Report,
    StdioTests,
    StopRule,
    TestResult,
    Trust,
    Verdict,
)  # fmt: skip
from engine.verdict import Outcome

type Run = Callable[[Order], Awaitable[Account]]

_LINE = re.compile(rb'\{"index": (\d{1,9}), [^\n]*\}\n')
_OPAQUE = re.compile(rb'\{"index": \d{1,9}, "opaque": ')
_COMPILED_BEHIND, _COMPILED_FOR = 2, 8
"""Tests before the program is compiled once for all that follow, since many programs fail the first; tests that make it pay."""
_MUCH_BYTES = 1 << 16
"""Output that takes tens of milliseconds to compare, token by token."""
_OTHER_LINES = 1_000
"""How many more lines than calls are looked at: a program may write millions, while the engine's other clients wait."""
_RESULTS = 1_000
"""Results of single asserts that a report lists at most; the counts are always whole."""


async def execute(job: Job, run: Run, prepared: PreparedTests) -> Report:
    """The report on a job. Raises BadJob, SlotBroken and CellFailed."""
    match job.tests:
        case StdioTests():
            return await _stdio(job, job.tests, run)
        case FunctionTests():
            calls = await _aside(has_many_values(job.tests), calls_of_functions, job.tests)
            account = await run(orders.calls_order(job, calls))
            return await _aside(len(account.report) > _MUCH_BYTES, _called, job, calls, account)
        case AssertTests():
            return await _asserted(job, job.tests, run, prepared)
        case None:
            account = await run(orders.script_order(job, job.stdin))
            failed = verdict.failure(account, job.limits)
            return _report(job, [account], failed or Outcome(verdict=Verdict.FINISHED))


async def _aside[*A, R](is_much: bool, act: Callable[[*A], R], *arguments: *A) -> R:
    """What that gives: computed in another thread where it is so much that other clients would wait."""
    return await asyncio.to_thread(act, *arguments) if is_much else act(*arguments)


async def _stdio(job: Job, tests: StdioTests, run: Run) -> Report:
    outcomes: list[Outcome] = []
    accounts: list[Account] = []
    compilation: list[Account] = []
    code = b""
    for test in tests.tests:
        if len(outcomes) == _COMPILED_BEHIND and len(tests.tests) >= _COMPILED_BEHIND + _COMPILED_FOR:
            compilation = [await run(orders.compilation_order(job))]
            code = _code(compilation[0])
        account = await run(orders.script_order(job, test.stdin, code))
        outcome = verdict.failure(account, job.limits)
        if outcome is None:
            what = tests.compare, test.expected_stdout, account.stdout
            difference = await _aside(len(account.stdout) > _MUCH_BYTES, compare.stdout_difference, *what)
            outcome = verdict.candidate_failed(difference, Verdict.WRONG_ANSWER) if difference else verdict.PASSED
        outcomes.append(outcome)
        if accounts:
            accounts[-1] = _without_outputs(accounts[-1])
        accounts.append(account)
        if outcome.verdict is Verdict.COMPILE_ERROR or _stops(job, outcome):
            break
    times = [account.candidate.cpu_ns / 1e6 for account in accounts]
    return _tested(job, compilation + accounts, outcomes, len(tests.tests), times)


def _without_outputs(account: Account) -> Account:
    """What a report needs of every account but the last one; there may be thousands."""
    return replace(account, stdout=b"", stderr=b"", report=b"")


def _code(compilation: Account) -> bytes:
    """The compiled program, which means nothing here; empty where there is none, and then every test compiles it."""
    is_whole = compilation.candidate.status == 0 and compilation.report_bytes == len(compilation.report)
    return compilation.report if is_whole else b""


def _called(job: Job, calls: Calls, account: Account) -> Report:
    hard = verdict.over_hard_limit(account, job.limits)
    lines = _lines(account.report, len(calls.expected))
    outcomes: list[Outcome] = []
    for index, expected in enumerate(calls.expected):
        text = lines.get(index)
        if text is None:
            outcomes.append(hard or verdict.left_early(account, job.limits))
            break
        if text == calls.lines[index]:
            outcomes.append(verdict.PASSED)
        elif len(text) > longest_line(expected, calls.lines[index]):
            outcomes.append(_wrong("the result is much longer than what is expected", calls.quotes[index]))
        else:
            outcomes.append(_result(text, expected, calls.quotes[index], account, job))
        if _stops(job, outcomes[-1]):
            break
    if hard is not None and all(outcome is verdict.PASSED for outcome in outcomes):
        outcomes[-1] = hard
    return _tested(job, [account], outcomes, len(calls.expected), [])


def _result(text: bytes, expected: Expectation, quote: str, account: Account, job: Job) -> Outcome:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return verdict.candidate_failed("a result that is no JSON", Verdict.RUNTIME_ERROR)
    if "exception" in line:
        return verdict.raised(str(line["exception"]), line.get("errno"), str(line.get("error")), account, job.limits)
    try:
        decoder = Decoder(line.get("rows"), PlainData(), plain=True)
        difference = expected.difference(decoder.value(line.get("ok", [])))
    except Malformed as error:
        difference = f"the result is no plain data: {str(line.get('opaque', error))[:80]}"
    return verdict.PASSED if difference is None else _wrong(difference, quote)


def _wrong(difference: str, quote: str) -> Outcome:
    return verdict.candidate_failed(f"{quote}: {difference}" if quote else difference, Verdict.WRONG_ANSWER)


def _lines(report: bytes, calls: int) -> dict[int, bytes]:
    """The first line for each index, of those that are readable: what the program's process says its calls gave."""
    lines: dict[int, bytes] = {}
    start = 0
    for _ in range(calls + _OTHER_LINES):
        end = report.find(b"\n", start) + 1
        if not end:
            break
        if (found := _LINE.fullmatch(report, start, end)) is not None:
            lines.setdefault(int(found[1]), found[0])
        start = end
    return lines


async def _asserted(job: Job, tests: AssertTests, run: Run, prepared: PreparedTests) -> Report:
    accounts: list[Account] = []
    calls = calls_of_asserts(tests)
    if calls is not None:
        accounts.append(await run(orders.calls_order(job, calls)))
        if not _is_opaque(job, calls, accounts[0]):
            return await _aside(len(accounts[0].report) > _MUCH_BYTES, _called, job, calls, accounts[0])
    examination = await prepared.examination(tests, job.stop, run)
    accounts.append(await run(orders.examined_order(job, examination)))
    try:
        found = verdict.examined(accounts[-1], job.limits)
    except verdict.TestsUnusable as error:
        raise BadJob(f"the test code cannot run: {error}") from None
    failures = dict(found.failures)
    known = found.total if len(failures) == found.total - found.passed else max(failures) + 1  # only the first ones are noted
    results = tuple(_test_result(index, failures.get(index, verdict.PASSED)) for index in range(min(known, _RESULTS)))
    return _report(job, accounts, found.outcome, results, found.passed, found.total, found.trust)


def _is_opaque(job: Job, calls: Calls, account: Account) -> bool:
    """Whether the program made all its calls but gave something that is no plain data, which an examiner has to judge."""
    if b'"opaque": ' not in account.report or verdict.failure(account, job.limits) is not None:
        return False
    lines = _lines(account.report, len(calls.expected))
    return all(index in lines for index in range(len(calls.expected))) and any(map(_OPAQUE.match, lines.values()))


def _tested(job: Job, accounts: list[Account], outcomes: list[Outcome], total: int, times: list[float]) -> Report:
    """The report on numbered tests: the verdict is that of the first one that failed."""
    failed = next((outcome for outcome in outcomes if outcome is not verdict.PASSED), verdict.PASSED)
    times = times or [0.0] * len(outcomes)
    results = [_test_result(i, outcome, ms) for i, (outcome, ms) in enumerate(zip(outcomes, times, strict=True))]
    results += [TestResult(index=index, verdict=Verdict.NOT_RUN) for index in range(len(outcomes), total)]
    passed = sum(outcome is verdict.PASSED for outcome in outcomes)
    return _report(job, accounts, failed, tuple(results), passed, total, Trust.COMPARED_OUTSIDE)


def _test_result(index: int, outcome: Outcome, cpu_time_ms: float = 0.0) -> TestResult:
    return TestResult(index=index, verdict=outcome.verdict, message=outcome.cause.message, cpu_time_ms=cpu_time_ms)


def _stops(job: Job, outcome: Outcome) -> bool:
    return outcome is not verdict.PASSED and (job.stop is StopRule.FIRST_FAILURE or outcome.verdict is Verdict.CANCELLED)


def _report(
    job: Job,
    accounts: list[Account],
    outcome: Outcome,
    results: Iterable[TestResult] = (),
    passed: int = 0,
    total: int = 0,
    trust: Trust = Trust.NOT_TESTED,
) -> Report:
    last = accounts[-1]
    return Report(
        id=job.id,
        verdict=outcome.verdict,
        cause=outcome.cause,
        tests=tuple(results),
        tests_passed=passed,
        tests_total=total,
        trust=trust,
        error=outcome.error,
        exit_code=last.candidate.status,
        cpu_time_ms=sum(account.candidate.cpu_ns for account in accounts) / 1e6,
        wall_time_ms=sum(account.candidate.wall_ns for account in accounts) / 1e6,
        peak_memory_bytes=max(account.peak_memory_bytes for account in accounts),
        stdout=last.stdout,
        stderr=last.stderr,
        stdout_truncated=last.stdout_bytes > len(last.stdout),
        stderr_truncated=last.stderr_bytes > len(last.stderr),
    )
