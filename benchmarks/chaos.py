"""Does every program get its one right answer while the engine's parts are killed? Zygotes, nsjails and connections, at random.

    python -m benchmarks.chaos [--programs 50000] [--seed 0] [--between 20]

    lanes (clients) ──> relay ──> engine ── nsjail ── zygote
                          ✂                   ✂         ✂

A kill comes whenever some more programs have been answered, so there are as many on a slow machine as on a fast one. Each lane
streams its share of the programs through a relay, which cuts connections. What a cut left without an answer is sent again, as any
client would; what was answered may not be answered again. A verdict other than the program's own is wrong. An infrastructure
error says nothing of the program and is allowed where two slots at least were killed while the program was under way, and no
more than every second kill explains one. In the end the engine holds what it held at the beginning, and once it has stopped
nothing is left: processes, mounts, cgroups, files. Prints a table, exits with 1 where one of these does not hold.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import command_line
from benchmarks.flips import ADD, BURN, LIMITS
from engine.bench.processes import children_of, descendants, groups_of, stat_of
from engine.client import AssertTests, AsyncClient, ConnectionFailed, EngineGone, Job, Limits, LocalEngine, Report, Verdict

LANES = 4
CHUNK = 200
"""Programs of one stream: the next ones come over a new one."""
LATEST_S = 0.1
"""After the answer that a kill waited for: any moment in the life of a program or a slot may be its last."""
SETTLING_S = 60
LONG = replace(LIMITS, cpu_time_ms=2_000)
"""For programs that do not mean to use up their time: a kernel under pressure bills them for what it does meanwhile."""
NEEDS_AN_EXAMINER = AssertTests(code="total = add(1, 2)\nassert total == 3", entry_points=("add",))
CASES = (
    ("uses half of its time", BURN.format(0.5 * LIMITS.cpu_time_ms / 1000), None, LIMITS, Verdict.FINISHED),
    ("uses all of its time", BURN.format(2 * LIMITS.cpu_time_ms / 1000), None, LIMITS, Verdict.TIME_LIMIT),
    ("prints", "print('hello')", None, LONG, Verdict.FINISHED),
    ("passes", "def add(a, b): return a + b", ADD, LONG, Verdict.PASSED),
    ("is wrong", "def add(a, b): return a - b", ADD, LONG, Verdict.WRONG_ANSWER),
    ("passes examined", "def add(a, b): return a + b", NEEDS_AN_EXAMINER, LONG, Verdict.PASSED),
    ("is wrong examined", "def add(a, b): return a - b", NEEDS_AN_EXAMINER, LONG, Verdict.WRONG_ANSWER),
    ("raises", "def add(a, b): raise KeyError(a)", ADD, LONG, Verdict.RUNTIME_ERROR),
    ("is no Python", "def add(a b): return a", ADD, LONG, Verdict.COMPILE_ERROR),
    ("takes memory", "data = bytearray(40 << 20)", None, LONG, Verdict.MEMORY_LIMIT),
)
"""Each kind of program with its tests, its limits and its one right verdict."""
RIGHT = {name: verdict for name, *_, verdict in CASES}


@dataclass
class Story:
    """What happened."""

    kills: Counter[str] = field(default_factory=Counter)
    slots_killed_at: list[float] = field(default_factory=list)
    sent_again: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answered(self, report: Report, sent_at: float) -> None:
        """Judge one report on what was sent at that time."""
        kind = report.id.partition(" ")[2]
        self.answers[report.id] += 1
        self.verdicts[report.verdict.value] += 1
        if report.verdict is Verdict.INFRASTRUCTURE_ERROR:
            if sum(killed_at >= sent_at for killed_at in self.slots_killed_at) < 2:
                self.breaches.append(f"no kill explains the infrastructure error of {report.id!r}: {report.cause.message}")
        elif report.verdict is not RIGHT[kind]:
            self.breaches.append(f"{report.id!r} is {report.verdict.value}: {report.cause.message}")
        async with self.progress:
            self.progress.notify_all()

    async def comes_to(self, answers: float) -> None:
        """Returns once so many programs have been answered."""
        async with self.progress:
            await self.progress.wait_for(lambda: len(self.answers) >= answers)

    def judge(self, wanted: int) -> None:
        """Whether all were answered once, and not more infrastructure errors than kills explain."""
        twice = [name for name, count in self.answers.items() if count > 1]
        if twice or len(self.answers) != wanted:
            self.breaches.append(f"{wanted - len(self.answers)} programs without an answer, {len(twice)} with more than one")
        if self.verdicts[Verdict.INFRASTRUCTURE_ERROR.value] > len(self.slots_killed_at) // 2:
            self.breaches.append("more infrastructure errors than every second kill explains")


class Relay:
    """Stands between lanes and engine, and cuts connections."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._links: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []

    @contextlib.asynccontextmanager
    async def at(self, path: Path) -> AsyncIterator[str]:
        """The address to connect to."""
        async with await asyncio.start_unix_server(self._serve, path):
            yield f"unix:{path}"
            while self.cut(random.Random(0)):
                pass

    def cut(self, dice: random.Random) -> bool:
        """Cut one connection, in the middle of whatever it carries. Whether there was one."""
        if not self._links:
            return False
        for writer in self._links.pop(dice.randrange(len(self._links))):
            writer.transport.abort()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._engine.removeprefix("unix:"))
        except OSError:
            writer.transport.abort()
            return
        link = writer, far_writer
        self._links.append(link)
        await asyncio.gather(_pour(reader, far_writer), _pour(far_reader, writer))
        if link in self._links:
            self._links.remove(link)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def lane(address: str, waiting: deque[Job], story: Story) -> None:
    """Takes programs from those that wait until none is left."""
    while waiting:
        left = {job.id: job for job in [waiting.popleft() for _ in range(min(CHUNK, len(waiting)))]}
        sent_at = time.monotonic()
        while left:
            with contextlib.suppress(EngineGone, ConnectionFailed):
                async with AsyncClient(address) as client:
                    async for report in client.execute_stream(list(left.values())):
                        await story.answered(report, sent_at)
                        left.pop(report.id, None)
            story.sent_again += len(left)


async def kill_at_random(pid: int, relay: Relay, story: Story, dice: random.Random, between: int) -> None:
    """Until it is cancelled; `between` programs are answered between two kills on average."""
    due = 0.0
    while True:
        due += dice.expovariate(1 / between)
        await story.comes_to(due)
        await asyncio.sleep(dice.random() * LATEST_S)
        what = dice.choice(("zygote", "nsjail", "connection"))
        if what == "connection":
            story.kills[what] += relay.cut(dice)
            continue
        jails = children_of(pid)
        victims = jails if what == "nsjail" else [zygote for jail in jails for zygote in children_of(jail)]
        if victims:
            story.slots_killed_at.append(time.monotonic())  # before it acts: the answer may be quicker than the next line
            story.kills[what] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(victims), signal.SIGKILL)


def held(pid: int) -> dict[str, int]:
    """What an engine and its jails hold on to."""
    tree = [pid, *descendants(pid)]
    descriptors = mounts = 0
    for each in tree:
        with contextlib.suppress(OSError):  # it went meanwhile
            descriptors += len(list(Path(f"/proc/{each}/fd").iterdir()))
            mounts += Path(f"/proc/{each}/mountinfo").read_text().count("\n")
    return {"processes": len(tree), "descriptors": descriptors, "mounts": mounts, "cgroups": len(groups_of(pid))}


async def settled(client: AsyncClient, pid: int, like: dict[str, int] | None) -> dict[str, int]:
    """What the engine holds once it is idle, no slot is armed and, if it comes to that, it is as it was."""
    slots = (await client.describe()).slots
    end = time.monotonic() + SETTLING_S
    while True:
        for round_number in (1, 2):  # a slot whose last two programs had different limits has no cells armed
            limits = Limits(open_files=100 + round_number)
            jobs = [Job(id=f"settle {n}", program="import time; time.sleep(0.3)", limits=limits) for n in range(slots)]
            await asyncio.gather(*map(client.execute, jobs))
        now = held(pid)
        if like is None or now == like or time.monotonic() > end:
            return now


async def chaos(engine: LocalEngine, folder: Path, programs: int, dice: random.Random, between: int) -> Story:
    """Run them all, and see what is held before and after."""
    story, relay, pid = Story(), Relay(engine.address), engine.pid
    assert pid is not None
    waiting = deque(_jobs(programs))
    async with AsyncClient(engine.address) as client:
        before = await settled(client, pid, None)
        async with relay.at(folder / "relay.sock") as address, asyncio.TaskGroup() as tasks:
            killer = tasks.create_task(kill_at_random(pid, relay, story, dice, between))
            teller = tasks.create_task(_tell(story, programs))
            await asyncio.gather(*(lane(address, waiting, story) for _ in range(LANES)))
            killer.cancel()
            teller.cancel()
        after = await settled(client, pid, before)
    story.judge(programs)
    story.breaches += [f"{name}: {before[name]} before, {after[name]} after" for name in before if before[name] != after[name]]
    return story


def _jobs(count: int) -> Iterator[Job]:
    for number in range(count):
        name, program, tests, limits, _ = CASES[number % len(CASES)]
        yield Job(id=f"{number} {name}", program=program, tests=tests, limits=limits)


async def _tell(story: Story, programs: int) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(10)
        print(f"{len(story.answers)} of {programs} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    """Run, stop the engine, look for what is left, judge."""
    parser = command_line("chaos", __doc__)
    parser.add_argument("--programs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--between", type=int, default=20, help="programs answered between two kills, on average")
    asked = parser.parse_args()
    mounts, began = _mounts(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        tempfile.tempdir = os.environ["TMPDIR"] = name  # the engine's and ours: nobody else's files are in there
        with LocalEngine() as engine:
            pid = engine.pid
            assert pid is not None
            story = asyncio.run(chaos(engine, folder, asked.programs, random.Random(asked.seed), asked.between))
            tree = [pid, *descendants(pid)]
        left = {
            "processes": [each for each in tree if not _is_gone(each)],
            "cgroups": groups_of(pid),
            "mounts": sorted(_mounts() - mounts),
            "files": sorted(path.name for path in folder.iterdir() if path.name != "relay.sock"),
        }
    story.breaches += [f"left behind: {name} {what}" for name, what in left.items() if what]
    _print(story, asked.programs, time.monotonic() - began)
    return 1 if story.breaches else 0


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _is_gone(pid: int) -> bool:
    """Whether a process has ended; whoever adopted it may not have reaped it yet."""
    return stat_of(pid)[:1] in ([], ["Z"])


def _print(story: Story, programs: int, seconds: float) -> None:
    rows = [
        ("programs", programs),
        ("answered", len(story.answers)),
        *((f"killed: {what}", count) for what, count in sorted(story.kills.items())),
        ("sent again after a cut", story.sent_again),
        *((f"verdict: {verdict}", count) for verdict, count in sorted(story.verdicts.items())),
        ("breaches", len(story.breaches)),
        ("seconds", round(seconds)),
    ]
    for name, value in rows:
        print(f"{name:36}{value:>10}")
    for breach in story.breaches[:20]:
        print(breach, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
