"""What other programs import: a client of an engine, the records it takes and gives, and problems to grade.

    from engine.client import Client, Job, LocalEngine

    with LocalEngine() as engine, Client(engine.address) as client:
        report = client.execute(Job(id="hello", program="print('hello')"))
        for report in client.execute_stream(jobs):
            ...

`AsyncClient` is the same for asyncio. Nothing here imports the rest of the engine, and no torch.
"""

from engine.client.asynchronous import AsyncClient
from engine.client.local import LocalEngine
from engine.client.synchronous import Client
from engine.errors import (
    BadJob,
    Busy,
    ConnectionFailed,
    Draining,
    EngineError,
    EngineFault,
    EngineGone,
    JailUnavailable,
    ProblemError,
    StartFailed,
    Unavailable,
)
from engine.problems import Problem, Sample, gold_samples, read_problems, read_samples
from engine.records import (
    ENGINE_DEFAULTS,
    MIB,
    AssertTests,
    Cause,
    CauseKind,
    CompareRule,
    Description,
    FunctionTest,
    FunctionTests,
    Job,
    Language,
    Limits,
    Report,
    StdioTest,
    StdioTests,
    StopRule,
    TestResult,
    Tests,
    Trust,
    Verdict,
)

__all__ = [
    "ENGINE_DEFAULTS",
    "MIB",
    "AssertTests",
    "AsyncClient",
    "BadJob",
    "Busy",
    "Cause",
    "CauseKind",
    "Client",
    "CompareRule",
    "ConnectionFailed",
    "Description",
    "Draining",
    "EngineError",
    "EngineFault",
    "EngineGone",
    "FunctionTest",
    "FunctionTests",
    "JailUnavailable",
    "Job",
    "Language",
    "Limits",
    "LocalEngine",
    "Problem",
    "ProblemError",
    "Report",
    "Sample",
    "StartFailed",
    "StdioTest",
    "StdioTests",
    "StopRule",
    "TestResult",
    "Tests",
    "Trust",
    "Unavailable",
    "Verdict",
    "gold_samples",
    "read_problems",
    "read_samples",
]
