"""Which jobs an engine takes: a pure check of a job's record against the engine's description.

The engine applies it to every job that comes in, so nothing behind the door meets a job that breaks these rules.
Each refusal is one line that says what is wrong and what would be right.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache

from engine.errors import BadJob
from engine.records import MIB, MINIMUM_MEMORY_BYTES, AssertTests, Description, FunctionTests, Job, Limits, StdioTests

MAX_ID_BYTES = 256
MAX_FILES, MAX_TESTS, MAX_ENTRY_POINTS = 1_000, 10_000, 1_000
MAX_FILES_BYTES = 32 * MIB
MAX_FILE_NAME_BYTES, MAX_PATH_BYTES = 255, 1_024
"""Of one component of a path; of all together."""


def check(job: Job, description: Description) -> None:
    """Raises BadJob where an engine with this description does not run such a job."""
    check_id(job.id)
    _check_language(job.language, description)
    _check_limits(job.limits, description.maximum_limits)
    if job.queue_time_ms < 0:
        raise BadJob(f"queue_time_ms is {job.queue_time_ms}; give 0 for the default, or more")
    _check_files(job.files)
    match job.tests:
        case StdioTests(tests=()) | FunctionTests(tests=()):
            raise BadJob("there are no tests among the tests; leave them away altogether to just run the program")
        case FunctionTests():
            _check_function_tests(job.tests)
        case AssertTests():
            _check_assert_tests(job.tests)


def check_counts(*, files: int, tests: int, entry_points: int) -> None:
    """To be asked before a request becomes a record: of what may be empty, a megabyte holds half a million, and each takes time.

    Raises BadJob.
    """
    limits = (("files", files, MAX_FILES), ("tests", tests, MAX_TESTS), ("entry points", entry_points, MAX_ENTRY_POINTS))
    for what, count, most in limits:
        if count > most:
            raise BadJob(f"there are {count} {what}; the most is {most}")


def check_id(job_id: str) -> None:
    """Raises BadJob for an id that cannot be a job's."""
    if not job_id:
        raise BadJob("the job has no id; give it one")
    if (size := len(job_id.encode())) > MAX_ID_BYTES:
        raise BadJob(f"the id {job_id[:40]!r}... is {size} bytes long; the most is {MAX_ID_BYTES}")


def _check_language(language: str, description: Description) -> None:
    if not any(known.name == language for known in description.languages):
        known = sorted(known.name for known in description.languages)
        fault = f"unknown language {language[:40]!r}" if language else "the program names no language"
        raise BadJob(f"{fault}; this engine runs {', '.join(known)}")


def _check_limits(limits: Limits, maximum: Limits) -> None:
    if (fault := _fault_of_limits(limits, maximum)) is not None:
        raise BadJob(fault)


@lru_cache(maxsize=64)
def _fault_of_limits(limits: Limits, maximum: Limits) -> str | None:
    """Remembered, since most jobs have the limits of the one before."""
    for field in fields(Limits):
        asked, most = getattr(limits, field.name), getattr(maximum, field.name)
        if asked < 0:
            return f"limits.{field.name} is {asked}; give 0 for the default, or more"
        if asked > most:
            return f"limits.{field.name} is {asked}; the most this engine allows is {most}"
    if limits.memory_bytes < MINIMUM_MEMORY_BYTES:
        return f"limits.memory_bytes is {limits.memory_bytes}; give at least the {MINIMUM_MEMORY_BYTES} that an interpreter needs"
    return None


def _check_files(files: Mapping[str, bytes]) -> None:
    if (size := sum(map(len, files.values()))) > MAX_FILES_BYTES:
        raise BadJob(f"the files have {size} bytes together; the most is {MAX_FILES_BYTES}")
    for name in files:
        if (fault := _fault_of_file_name(name)) is not None:
            raise BadJob(f"file name {name[:80]!r} {fault}; use a relative path inside the working directory")
        if (parent := next((above for above in _folders_above(name) if above in files), None)) is not None:
            raise BadJob(f"file name {name[:80]!r} lies below {parent[:80]!r}, which is a file too")


def _fault_of_file_name(name: str) -> str | None:
    if not name:
        return "is empty"
    if len(name.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if "\0" in name:
        return "contains a NUL"
    if name.startswith("/"):
        return "is absolute"
    if ".." in name.split("/"):
        return 'contains ".."'
    if posixpath.normpath(name) != name or name == ".":
        return "is not in its shortest form"
    if max(len(part.encode()) for part in name.split("/")) > MAX_FILE_NAME_BYTES:
        return f"has a part longer than {MAX_FILE_NAME_BYTES} bytes"
    return None


def _folders_above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _check_function_tests(tests: FunctionTests) -> None:
    if not tests.entry_point.strip():
        raise BadJob('function tests without an entry point; name the function, such as "solve"')
    if not tests.float_tolerance >= 0:
        raise BadJob(f"float_tolerance is {tests.float_tolerance}; give 0 or more")
    for index, test in enumerate(tests.tests):
        for name in test.kwargs:
            if not name.isidentifier():
                raise BadJob(f"test {index}: the keyword argument {name[:40]!r} is no Python identifier")


def _check_assert_tests(tests: AssertTests) -> None:
    if not tests.entry_points or not all(entry_point.strip() for entry_point in tests.entry_points):
        raise BadJob("assert tests without an entry point; name what the tests use from the program")
    if tests.check and not tests.check.isidentifier():
        raise BadJob(f"check is {tests.check[:40]!r}; give the name of a function that the test code defines")
    if not tests.code.strip():
        raise BadJob("the test code is empty, and would pass whatever the program does")
