"""What a slot is asked to do for a job: pure functions from a `Job` to the bytes that its cells read.

`work` goes to the candidate and `tests` to the examiner, and neither ever sees the other's: what is expected is in no order's
`work`.
"""

from engine.calls import Calls
from engine.jail.inside.messages import packed
from engine.jail.slot import Order
from engine.records import AssertTests, Job, StopRule


def script_order(job: Job, stdin: bytes) -> Order:
    """Run the program by itself."""
    return Order(kind="script", limits=job.limits, work=_work(job, "script"), stdin=stdin)


def calls_order(job: Job, calls: Calls) -> Order:
    """Load the program, then make the calls."""
    return Order(kind="functions", limits=job.limits, work=_work(job, "functions", calls.work), stdin=job.stdin)


def asserts_order(job: Job, tests: AssertTests) -> Order:
    """Load the program in one cell and run the test code in another."""
    examination = {
        "code": tests.code,
        "prompt": tests.prompt,
        "entry_points": tests.entry_points,
        "check": tests.check,
        "stop": "run_all" if job.stop is StopRule.RUN_ALL else "first_failure",
    }
    return Order(kind="asserts", limits=job.limits, work=_work(job, "asserts"), stdin=job.stdin, tests=packed(examination))


def _work(job: Job, kind: str, calls: bytes = b"") -> bytes:
    source = job.program if isinstance(job.program, bytes) else job.program.encode("utf-8", "surrogatepass")
    return packed({"kind": kind, "source": source, "files": dict(job.files), "calls": calls})
