"""Every way in which bytes out of a jail are read on the host, each as a function of those bytes.

Whatever they are, there is a report that can be sent, or one of the refusals that are meant; and what nobody could have computed
does not pass. `seeds` are what honest processes write, made by the code that writes it.
"""

import json
import secrets
import struct
from collections.abc import Callable, Iterator

from engine import wire
from engine.errors import BadJob
from engine.execution import execute
from engine.jail.inside.candidate import result_line
from engine.jail.inside.messages import PREPARATION, PROCESS
from engine.jail.inside.preparing import READY, UNUSABLE
from engine.jail.slot import Account, ProcessAccount
from engine.preparation import PreparedTests
from engine.records import (
    AssertTests,
    CompareRule,
    FunctionTest,
    FunctionTests,
    Job,
    Limits,
    StdioTest,
    StdioTests,
    StopRule,
    Tests,
    Verdict,
)
from engine.verdict import CellFailed
from tests.engine.accounts import account, findings

EXAMINED = AssertTests(code="two = f(0) + 1\nassert f(1) == two", entry_points=("f",))


def secret() -> str:
    """What the last test expects: another one each time, since a fuzzer sees what its input is compared with."""
    return secrets.token_hex(16)


def functions() -> FunctionTests:
    values = (2.5, [1, (2, {"k": {3}})], {1: None, "x": b"y"}, secret())
    return FunctionTests(entry_point="f", float_tolerance=1e-6, tests=tuple(FunctionTest(expected=value) for value in values))


def calls() -> AssertTests:
    code = "assert f(1) is None\nassert not f(2)\nassert abs(f(3) - 2.0) < 1e-6\nassert f(4) == [1, 2.0]\n"
    return AssertTests(code=f"{code}assert f(5) == {secret()!r}", entry_points=("f",))


def function_results(said: bytes) -> None:
    """The report of a program whose function was called."""
    never_passes(executed(functions(), account(report=said)))


def assert_results(said: bytes) -> None:
    """... by test code that is but calls."""
    never_passes(executed(calls(), account(report=said), account(examiner={}, findings=findings(0, 1))))


def last_words(said: bytes) -> None:
    """The report of a script that failed."""
    never_passes(executed(None, account(report=said, candidate={"status": 1})))


def outputs(said: bytes) -> None:
    """stdout, under every rule."""
    for rule in CompareRule:
        tests = StdioTests(tests=(StdioTest(expected_stdout=f"1.5 2 {secret()}".encode()),), compare=rule)
        never_passes(executed(tests, account(stdout=said, stderr=said)))


def found(said: bytes) -> None:
    """An examiner's findings, of tests that passed, failed or did not come to an end."""
    for status in (0, 1):
        executed(EXAMINED, account(examiner={"status": status}, findings=said))


def prepared(said: bytes) -> None:
    """What the process wrote that was to make test code ready."""
    executed(EXAMINED, account(examiner={}, findings=findings(1, 0, state="done")), preparation=account(findings=said))


def accounts(said: bytes) -> None:
    """A zygote's account."""
    try:
        for numbers in PROCESS.iter_unpack(said):
            ProcessAccount.unpacked(*numbers)
    except (struct.error, IndexError):
        return


READERS: tuple[Callable[[bytes], None], ...] = (
    function_results,
    assert_results,
    last_words,
    outputs,
    found,
    prepared,
    accounts,
)


def executed(tests: Tests | None, *ran: Account, preparation: Account | None = None) -> Verdict | None:
    """The verdict, from a report that was sent and received; None where the job was refused, which was sent too."""
    left = iter(ran)

    async def run(order: object) -> Account:
        if getattr(order, "kind", "") == PREPARATION:
            return preparation or account(findings=READY + b"code")
        return next(left)

    job = Job(id="fuzzed", program="", tests=tests, limits=Limits(), stop=StopRule.RUN_ALL)
    try:
        execute(job, run, PreparedTests()).send(None)
    except StopIteration as done:
        message = wire.response_from_report(done.value)
        sent = type(message).FromString(message.SerializeToString())
        return wire.report_from_message(sent.id, sent.report).verdict
    except (BadJob, CellFailed) as refused:
        error = refused if isinstance(refused, BadJob) else BadJob(str(refused))
        wire.response_from_refusal("fuzzed", wire.refusal_of(error)).SerializeToString()
        wire.status_of(wire.refusal_of(error)).details.encode()
        return None
    raise AssertionError("it waits for something")


def never_passes(verdict: Verdict | None) -> None:
    assert verdict not in (Verdict.PASSED, Verdict.FINISHED), verdict


def seeds() -> Iterator[tuple[int, bytes]]:
    """Numbers of readers with what an honest process gives them to read."""
    values = [
        2.5,
        [1, (2, {"k": {3}})],
        {1: None, "x": b"y"},
        None,
        -0.0,
        float("nan"),
        1 << 300,
        1j,
        frozenset({(1,)}),
        bytearray(b"z"),
    ]
    itself: list[object] = []
    itself.append(itself)
    lines = b"".join(result_line(index, value) for index, value in enumerate([*values, itself]))
    raised = {"index": 0, "stage": "call", "exception": "KeyError", "errno": None, "error": "Traceback\nKeyError: 1"}
    raised_line, opaque_line = json.dumps(raised).encode() + b"\n", b'{"index": 1, "opaque": "Node"}\n'
    for reader in (0, 1):
        yield reader, lines
        yield reader, raised_line + opaque_line
        yield from ((reader, result_line(0, value)) for value in values)
    for stage, exception, number in (("compile", "SyntaxError", None), ("run", "OSError", 28), ("run", "MemoryError", None)):
        words = {"stage": stage, "exception": exception, "errno": number, "error": f"Traceback\n{exception}"}
        yield 2, json.dumps(words).encode() + b"\n"
    yield 3, b"1.5 2.0\n1e9 abc\n"
    yield 4, findings(3, 0, state="done")
    yield 4, findings(1, 1, state="done", error="E", failures=[[1, "assert f(1) == two", True, "OSError", 24]], delegated=True)
    yield 4, findings(0, 0, state="unusable", error="NameError: x")
    yield 5, READY + b"code"
    yield 5, UNUSABLE + b"SyntaxError"
    yield 6, PROCESS.pack(1, 0, 0, 5_000_000, 7_000_000, 1 << 20) * 2
