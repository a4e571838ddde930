"""Test code made ready once for all candidates of a problem.

Parsing and compiling test code costs more than most programs that it tests, and is the same for all of them. So it happens in
a cell of its own for the first candidate, and what comes out is kept here as bytes for the others. The engine never looks into
them: they come from a cell that no program shared, and go nowhere but into the cells of examiners.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from engine import orders, verdict
from engine.errors import BadJob
from engine.jail.inside.preparing import READY, UNUSABLE
from engine.jail.slot import Account, Order
from engine.records import AssertTests, StopRule

_MOST_BYTES = 64 << 20


class PreparedTests:
    """The examinations that were used last, `most_bytes` of them."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._room = most_bytes
        self._kept: OrderedDict[tuple[AssertTests, StopRule], bytes] = OrderedDict()

    async def examination(self, tests: AssertTests, stop: StopRule, run: Callable[[Order], Awaitable[Account]]) -> bytes:
        """What to tell the examiner. Raises BadJob for test code that cannot run, and CellFailed."""
        key = (tests, stop)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        account = await run(orders.preparation_order(tests, stop))
        examination = orders.examination(tests, _prepared(account))
        self._keep(key, examination)
        return examination

    def _keep(self, key: tuple[AssertTests, StopRule], examination: bytes) -> None:
        if key not in self._kept:  # two may have prepared the same
            self._kept[key] = examination
            self._room -= len(examination)
        while self._room < 0:
            _, oldest = self._kept.popitem(last=False)
            self._room += len(oldest)


def _prepared(account: Account) -> bytes:
    if not account.candidate.entered:
        raise verdict.CellFailed(f"test code could not be prepared: exit code {account.candidate.status}")
    if account.candidate.status == 0 and account.findings.startswith(READY):
        return account.findings.removeprefix(READY)
    why = account.findings.removeprefix(UNUSABLE).decode("utf-8", "replace") or f"compiling it ended with {_end(account)}"
    raise BadJob(f"the test code cannot run: {why}")


def _end(account: Account) -> str:
    return account.candidate.killed or f"exit code {account.candidate.status}"
