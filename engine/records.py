"""The records that flow through the engine, in the order in which they flow.

A client makes a `Job`; the engine runs it and answers with one `Report`. The wire messages of
protos/ are converted to and from these records at the door (engine.wire), so the inside of the engine
and the users of the client see only what stands here. Every record is immutable.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1024 * 1024
MINIMUM_MEMORY_BYTES = 16 * MIB
"""An interpreter needs about as much to say that it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one program may use, each with a verdict of its own when it is exceeded.

    CPU time is that of the program's whole process tree and is what "too slow" means. Wall time only
    bounds programs that sleep; the time a program spent waiting for a busy core does not count.
    """

    cpu_time_ms: int = 10_000
    wall_time_ms: int = 30_000
    memory_bytes: int = 512 * MIB
    """Of the whole tree, its files included; at least MINIMUM_MEMORY_BYTES."""
    output_bytes: int = 1 * MIB
    """stdout and stderr each."""
    processes: int = 32
    """Processes and threads alive at once, the program's first one included."""
    open_files: int = 256
    file_size_bytes: int = 64 * MIB


ENGINE_DEFAULTS = Limits(**dict.fromkeys(Limits.__slots__, 0))
"""For a job on its way to an engine: a limit of 0 stands for that engine's default one."""


class StopRule(enum.Enum):
    """When to stop testing a program that has failed a test."""

    FIRST_FAILURE = "first_failure"
    RUN_ALL = "run_all"


class CompareRule(enum.Enum):
    """How stdout is compared with what is expected."""

    EXACT = "exact"
    """Byte for byte."""
    LINES = "lines"
    """Line by line; white space at the end of lines and empty lines at the end do not count."""
    TOKENS = "tokens"
    """Token by token, any white space between them; numbers with a decimal point may differ by 1e-6, relative or absolute.

    Where an integer is expected, only absolute.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class StdioTest:
    """One run of the program: what it reads on stdin and what it should write to stdout."""

    stdin: bytes = b""
    expected_stdout: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class StdioTests:
    tests: tuple[StdioTest, ...]
    compare: CompareRule = CompareRule.LINES


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionTest:
    """One call: plain Python data in, the plain Python data that should come back."""

    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    expected: object


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionTests:
    """Calls of `entry_point`, an expression over the program's names such as `f` or `Solution().twoSum`.

    `float_tolerance` is the relative and absolute difference at which two floats still count as equal; only the absolute one
    where an integer is expected.
    """

    entry_point: str
    tests: tuple[FunctionTest, ...]
    float_tolerance: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AssertTests:
    """Test code that asserts on what the program defines; it runs in a process apart from the program.

    `prompt` is the part of the problem that the tests may trust: its imports, classes and helper
    functions are taken from here and never from the program. `entry_points` are the names, or expressions
    over names, that the test code uses from the program. When `check` is set, the test code
    defines a function of that name, which is called with the first entry point.
    """

    code: str
    entry_points: tuple[str, ...]
    prompt: str = ""
    check: str = ""


type Tests = StdioTests | FunctionTests | AssertTests


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One program to run. `id` is the caller's and comes back in the report."""

    id: str
    program: str | bytes
    language: str = "python"
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files to lay into the program's working directory, by relative path."""
    stdin: bytes = b""
    """What the program reads where there are no stdin/stdout tests."""
    limits: Limits = ENGINE_DEFAULTS
    """Unless named, those of the engine's settings. `Limits(cpu_time_ms=5000)` names the others as well, with what stands above;
    `replace(ENGINE_DEFAULTS, cpu_time_ms=5000)` leaves them to the engine."""
    tests: Tests | None = None
    stop: StopRule = StopRule.FIRST_FAILURE
    queue_time_ms: int = 600_000
    """How long the job may wait for a slot before it is given up as an infrastructure error."""
    deduplicate: bool = False
    """The program does the same each time: a report on a job that is equal but for id and queue time may answer for it."""


class Verdict(enum.Enum):
    """What became of a program or of one test."""

    PASSED = "passed"
    """There were tests, all of them ran and all passed."""
    FINISHED = "finished"
    """There were no tests; the program ran to its end with exit code 0."""
    WRONG_ANSWER = "wrong_answer"
    COMPILE_ERROR = "compile_error"
    RUNTIME_ERROR = "runtime_error"
    TIME_LIMIT = "time_limit"
    WALL_TIME_LIMIT = "wall_time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    PROCESS_LIMIT = "process_limit"
    OPEN_FILES_LIMIT = "open_files_limit"
    FILE_SIZE_LIMIT = "file_size_limit"
    CANCELLED = "cancelled"
    INFRASTRUCTURE_ERROR = "infrastructure_error"
    """The engine or its host failed: says nothing about the program."""
    NOT_RUN = "not_run"
    """Of a test only: an earlier failure ended the testing."""


class CauseKind(enum.Enum):
    NONE = "none"
    """Nothing went wrong."""
    CANDIDATE = "candidate"
    LIMIT = "limit"
    INFRASTRUCTURE = "infrastructure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Who or what brought a verdict about, with one line for people."""

    kind: CauseKind = CauseKind.NONE
    message: str = ""
    limit: str = ""
    """The field of `Limits` that was reached, where kind is LIMIT."""
    measured: int = 0
    """In the unit of that field."""
    allowed: int = 0


class Trust(enum.Enum):
    """How far a PASSED verdict can be trusted against a program that cheats."""

    NOT_TESTED = "not_tested"
    COMPARED_OUTSIDE = "compared_outside"
    """Results left the jail as data and were compared where the program cannot reach."""
    EXAMINED = "examined"
    """Test code ran in a process apart; only plain data and references crossed."""
    EXAMINED_DELEGATED = "examined_delegated"
    """As EXAMINED, but an object of the program stood in the place of data: tests compared, counted, iterated or showed it, and
    what that gave was for its class to say. Calls of its methods and reading its attributes do not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    index: int
    verdict: Verdict
    message: str = ""
    """What differed or what was raised, shortened."""
    cpu_time_ms: float = 0.0
    """0 where the tests shared one process and the time of each is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What became of one job. Outputs are the first `limits.output_bytes` bytes."""

    id: str
    verdict: Verdict
    cause: Cause = Cause()
    tests: tuple[TestResult, ...] = ()
    tests_passed: int = 0
    tests_total: int = 0
    """Tests known to exist; for test code with loops, those that were reached."""
    trust: Trust = Trust.NOT_TESTED
    error: str = ""
    """Exception and traceback, trimmed to the program's own frames."""
    exit_code: int = 0
    """The program's exit status, or minus the signal that ended it."""
    cpu_time_ms: float = 0.0
    wall_time_ms: float = 0.0
    queue_time_ms: float = 0.0
    peak_memory_bytes: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    deduplicated: bool = False
    """Of an earlier run of an equal job, times and memory included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    name: str
    version: str = ""
    """Such as "CPython 3.12.1"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What an engine runs and allows. Where a job's limit is 0, it gets the default one."""

    languages: tuple[Language, ...]
    default_limits: Limits = Limits()
    maximum_limits: Limits
    slots: int
    version: str
