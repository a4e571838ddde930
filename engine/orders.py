"""What a slot is asked to do for a job: pure functions from a `Job` to the bytes that its cells read.

`work` goes to the candidate and `tests` to the examiner, and neither ever sees the other's: what is expected is in no order's
`work`.
"""

from engine.calls import Calls
from engine.jail.inside.messages import EXAMINED, PREPARATION, PROGRAM, packed
from engine.jail.slot import Order
from engine.records import AssertTests, Job, Limits, StopRule


def script_order(job: Job, stdin: bytes, code: bytes = b"") -> Order:
    """Run the program by itself; from its `code` where it was compiled before."""
    return Order(kind=PROGRAM, limits=job.limits, work=_work(job, "script", code=code), stdin=stdin)


def compilation_order(job: Job) -> Order:
    """Compile the program and do not run it."""
    return Order(kind=PROGRAM, limits=job.limits, work=_work(job, "compilation"))


def calls_order(job: Job, calls: Calls) -> Order:
    """Load the program, then make the calls."""
    return Order(kind=PROGRAM, limits=job.limits, work=_work(job, "functions", calls=calls.work), stdin=job.stdin)


def preparation_order(tests: AssertTests, stop: StopRule) -> Order:
    """Make test code ready to run."""
    work = {"prompt": tests.prompt, "code": tests.code, "check": tests.check, "stop": stop.value}
    return Order(kind=PREPARATION, limits=Limits(), tests=packed(work))


def examined_order(job: Job, examination: bytes) -> Order:
    """Load the program in one cell and run the test code in another."""
    return Order(kind=EXAMINED, limits=job.limits, work=_work(job, "asserts"), stdin=job.stdin, tests=examination)


def examination(tests: AssertTests, prepared: bytes) -> bytes:
    """What the examiner is told, given the test code as it came out of its preparation."""
    return packed({"prepared": prepared, "code": tests.code, "entry_points": tests.entry_points, "check": tests.check})


def _work(job: Job, kind: str, *, calls: bytes = b"", code: bytes = b"") -> bytes:
    source = job.program if isinstance(job.program, bytes) else job.program.encode("utf-8", "surrogatepass")
    return packed({"kind": kind, "source": source, "files": dict(job.files), "calls": calls, "code": code})
