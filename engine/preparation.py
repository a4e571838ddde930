"""Test code made ready once for all candidates of a problem.

Parsing and compiling test code costs more than most programs that it tests, and is the same for all of them. So it happens in
a cell of its own for the first candidate, and what comes out is kept here as bytes for the others. The engine never looks into
them: they come from a cell that no program shared, and go nowhere but into the cells of examiners.
"""

import sys
from collections.abc import Awaitable, Callable

from engine import orders, verdict
from engine.errors import BadJob
from engine.jail.inside.preparing import READY, UNUSABLE
from engine.jail.slot import Account, Order
from engine.recent import Recent
from engine.records import AssertTests, StopRule

_MOST_BYTES = 64 << 20


class PreparedTests:
    """The examinations that were used last, `most_bytes` of them and of what they were made from."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._kept: Recent[tuple[AssertTests, StopRule], bytes] = Recent(most_bytes)

    async def examination(self, tests: AssertTests, stop: StopRule, run: Callable[[Order], Awaitable[Account]]) -> bytes:
        """What to tell the examiner. Raises BadJob for test code that cannot run, and CellFailed."""
        key = (tests, stop)
        if (kept := self._kept.get(key)) is not None:
            return kept
        account = await run(orders.preparation_order(tests, stop))
        examination = orders.examination(tests, _prepared(account))
        self._kept.keep(key, examination, len(examination) + sys.getsizeof(tests.code) + sys.getsizeof(tests.prompt))
        return examination


def _prepared(account: Account) -> bytes:
    if not account.candidate.entered or account.host_out_of_memory:
        raise verdict.CellFailed(f"test code could not be prepared: exit code {account.candidate.status}")
    if account.candidate.status == 0 and account.findings.startswith(READY):
        return account.findings.removeprefix(READY)
    why = account.findings.removeprefix(UNUSABLE).decode("utf-8", "replace") or f"compiling it ended with {_end(account)}"
    raise BadJob(f"the test code cannot run: {why}")


def _end(account: Account) -> str:
    return account.candidate.killed or f"exit code {account.candidate.status}"
