"""Accounts of programs that never ran: what a slot says of a program that ended well, but for what a test names."""

import json
from dataclasses import replace

from engine.jail.inside.examiner import COUNTERS
from engine.jail.slot import Account, ProcessAccount

WELL = ProcessAccount(entered_ns=1_000_000, status=0, killed="", cpu_ns=5_000_000, wall_ns=7_000_000, max_rss_bytes=1 << 20)


def account(*, examiner=None, stdout=b"", stderr=b"", report=b"", findings=b"", candidate=None, **facts):
    """The candidate's and the examiner's facts as dicts, everything else by its name."""
    whole = Account(
        candidate=replace(WELL, **(candidate or {})),
        examiner=None if examiner is None else replace(WELL, **examiner),
        stdout=stdout,
        stderr=stderr,
        stdout_bytes=len(stdout),
        stderr_bytes=len(stderr),
        report=report,
        report_bytes=len(report),
        findings=findings,
        oom_killed=False,
        host_out_of_memory=False,
        memory_refused=False,
        forks_refused=False,
        peak_memory_bytes=1 << 20,
    )
    return replace(whole, **facts)


def findings(passed=0, failed=0, **found):
    """What an examiner notes: its counters, and the JSON that it writes last."""
    return COUNTERS.pack(passed, failed) + (json.dumps(found).encode() if found else b"")
