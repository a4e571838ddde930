"""What was measured, in the order in which it is: rounds of single figures; everything that is quoted is computed from them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Without a name or an address: what a reader needs in order to compare."""

    cores: int
    model: str
    memory_bytes: int
    kernel: str
    engine_python: str
    candidate_python: str


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """CPU milliseconds per program of HumanEval over the stream."""

    client: float
    server: float
    orders: float
    """Of the server's: test code into orders, memory files, accounts, limits of the group; in a process without gRPC."""
    verdicts: float
    """Of the server's: comparisons and the report."""
    slots: float
    """All processes in the slots together, the zygotes' own work and the examiners included."""
    cells: float
    """Of the slots': a cell's own way from its fork to the program: namespaces, mounts, limits, filter."""
    programs: float
    """Of the slots': what the reports say the programs themselves used, the end of their processes included."""
    elapsed: float
    """Wall time per program times the number of cores: what there was to use."""
    bare_fork: float
    """What the bare fork used for the same programs, its forks included."""
    warm_fork: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds of one trivial program at a time."""

    p50: float
    p90: float
    p99: float
    slot: float
    """The median of what passed between the order to the zygote and the end of the program."""
    fork_in_namespaces: float | None
    """The median of one bare fork with pid, mount and ipc namespaces; None where the host does not allow it."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    slots: int
    idle_bytes: float
    """PSS of one idle slot that has run nothing yet: nsjail and zygote."""
    used_bytes: float
    """The same after a workload."""
    peak_bytes: int
    """The most that one program of that workload took on top."""


@dataclass(frozen=True, kw_only=True)
class LoadPoint:
    """An open loop of unary calls for a while. Rates are per second."""

    factor: float
    """How many times the rate that the engine can hold."""
    heeds: bool
    """Whether the client learns from refusals, as ours does, or sends everything."""
    offered: float
    """What the generator really sent."""
    done: float
    refused: float
    refusal_p50_ms: float
    refusal_p99_ms: float
    wrong_verdicts: int
    client_cores: float
    """How much of the cores the load generator used up."""
    server_cores: float
    """The same of the engine's own process, its slots not included."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One pass through everything that was asked for; what was not is empty."""

    programs_per_second: dict[str, dict[str, float]] = field(default_factory=dict)
    """By workload, then contender."""
    breakdown: Breakdown | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    load: list[LoadPoint] = field(default_factory=list)
    engines: dict[int, float] = field(default_factory=dict)
    """Programs per second by how many engines, each on a core of its own."""
    slots: dict[int, float] = field(default_factory=dict)
    """Programs per second by how many slots one engine has."""
    growth: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """By what grows: its size and milliseconds per program."""
    others: float = 0.0
    """The largest share of the cores that other programs took while anything of this round was measured."""


@dataclass(frozen=True, kw_only=True)
class Results:
    machine: Machine
    rounds: list[Round]
