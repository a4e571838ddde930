"""Runs cases against an engine and says what became of each.

Forgeries and false alarms run side by side. Abuse runs alone, one program after the other, and behind each comes a healthy
probe in every slot at once: it must find its directory empty, no other process, its memory, files and children as usual, and
use no more CPU time than it does before the abuse.
"""

import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from importlib import resources

from engine.client import BadJob, Client
from engine.records import Job, Limits, Report, StdioTest, StdioTests, Verdict
from engine.selftest.cases import Case, Finding, judge

_BESIDE_EACH_OTHER = 8
_USUAL_PROBES = 9
_MOST = 4.0
"""Times its usual CPU time that a probe may use: other programs of the host make it slower, too, though hardly so much."""
_LOOKS = 5
"""Probes that may be slow in a row, while what an abuse left behind would stay."""
PROBE = Job(
    id="probe",
    program=resources.files(__package__).joinpath("probe.py").read_bytes(),
    tests=StdioTests(tests=(StdioTest(stdin=b"well\n", expected_stdout=b"well\n"),)),
    limits=Limits(cpu_time_ms=10_000, wall_time_ms=20_000),
)


def run_cases(client: Client, cases: Sequence[Case]) -> Iterator[Finding]:
    """The finding of every case, in any order. Raises what the client raises, but for BadJob."""
    with ThreadPoolExecutor(_BESIDE_EACH_OTHER) as pool:
        futures = [pool.submit(_run, client, case) for case in cases]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_abuse(client: Client, cases: Sequence[Case]) -> Iterator[Finding]:
    """The finding of every case in order; one that the engine did not get over unharmed has not held."""
    probes = _Probes(client, slots=client.describe().slots)
    for case in cases:
        finding = _run(client, case)
        harm = probes.harm()
        yield replace(finding, why=finding.why or harm)


def _run(client: Client, case: Case) -> Finding:
    try:
        return judge(case, client.execute(case.job))
    except BadJob:
        return judge(case, None)


class _Probes:
    """One healthy program, again and again."""

    def __init__(self, client: Client, *, slots: int) -> None:
        self._client = client
        self._slots = slots
        reports = [client.execute(PROBE) for _ in range(_USUAL_PROBES)]
        self._usual_ms = statistics.median(report.cpu_time_ms for report in reports)

    def harm(self) -> str:
        """What is wrong with the programs that run now, empty where nothing is."""
        for _ in range(_LOOKS):
            with ThreadPoolExecutor(self._slots) as pool:
                reports = list(pool.map(self._client.execute, [PROBE] * self._slots))
            found = next(filter(None, map(self._wrong, reports)), "")
            slow = next(filter(None, map(self._slow, reports)), "")
            if found or not slow:
                return found
        return slow

    def _wrong(self, report: Report) -> str:
        if report.verdict is Verdict.PASSED:
            return ""
        return f"the next program: {report.verdict.value} ({report.error or report.cause.message})"

    def _slow(self, report: Report) -> str:
        if report.cpu_time_ms <= _MOST * self._usual_ms:
            return ""
        return f"the next program took {report.cpu_time_ms:.0f} ms of CPU time, usual are {self._usual_ms:.0f} ms"
