"""What a slot is asked to do for a job: pure functions from a `Job` to the bytes that its cells read.

`work` goes to the candidate and `tests` to the examiner, and neither ever sees the other's: what is expected is in no order's
`work`. Function tests send arguments only, and keep what is expected here.
"""

import json
from typing import Any

from engine.errors import BadJob
from engine.jail.inside.decoding import PlainData
from engine.jail.inside.encoding import Encoder
from engine.jail.slot import Order
from engine.records import AssertTests, FunctionTest, FunctionTests, Job, StopRule


def script_order(job: Job, stdin: bytes) -> Order:
    """Run the program by itself."""
    return Order(kind="script", limits=job.limits, work=_work(job, "script"), stdin=stdin)


def functions_order(job: Job, tests: FunctionTests) -> Order:
    """Load the program, then call it once per test. Raises BadJob where an argument is no plain data."""
    calls = [_call(index, test) for index, test in enumerate(tests.tests)]
    work = _work(job, "functions", entry_point=tests.entry_point, tests=calls)
    return Order(kind="functions", limits=job.limits, work=work, stdin=job.stdin)


def asserts_order(job: Job, tests: AssertTests) -> Order:
    """Load the program in one cell and run the test code in another."""
    examination = {
        "code": tests.code,
        "prompt": tests.prompt,
        "entry_points": tests.entry_points,
        "check": tests.check,
        "stop": "run_all" if job.stop is StopRule.RUN_ALL else "first_failure",
    }
    return Order(
        kind="asserts", limits=job.limits, work=_work(job, "asserts"), stdin=job.stdin, tests=json.dumps(examination).encode()
    )


def _work(job: Job, kind: str, **more: Any) -> bytes:
    """A line of JSON, then the program, then the files."""
    source = job.program if isinstance(job.program, bytes) else job.program.encode("utf-8", "surrogatepass")
    files = [[name, len(content)] for name, content in job.files.items()]
    head = json.dumps({"kind": kind, "source_bytes": len(source), "files": files, **more})
    return b"".join((head.encode(), b"\n", source, *job.files.values()))


def _call(index: int, test: FunctionTest) -> dict[str, Any]:
    encoder = Encoder(PlainData())
    try:
        args = [encoder.encode(value) for value in test.args]
        kwargs = {name: encoder.encode(value) for name, value in test.kwargs.items()}
    except TypeError as error:
        raise BadJob(f"function test {index}: {error}") from None
    return {"args": args, "kwargs": kwargs, "rows": encoder.rows}
