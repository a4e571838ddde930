"""Runs the trusted test code, in a cell of its own; what it tests lives in the candidate's process.

The test code's namespace holds what the trusted prompt defines, and for each entry point what the candidate returned for
it: data, or a proxy. The findings go to a file that only this process can write: eight bytes of counters that are up to date at
any moment (a test run that is killed still says how far it came), then JSON once the tests are over:
{"state": "done" | "gone" | "unusable", "failures": [[index, message, raised by the program, exception, errno]],
"delegated": bool, "error": trace}. "gone": the program left or broke the protocol; "unusable": the test code cannot run.
"""

import contextlib
import errno
import json
import marshal
import mmap
import opcode
import os
import socket
import struct
import sys
import types
from collections.abc import Iterable, Iterator, Set
from typing import Any, NoReturn

from . import conversation, looks, membership, proxies
from .candidate import errno_of
from .conversation import Conversation, Gone
from .decoding import found_in_class, hides_code
from .encoding import Row
from .looks import LOOKS, Seen
from .membership import Membership
from .operations import ALONE, BETWEEN, OPERATIONS
from .proxies import FAILED_TEST, CallableProxy

COUNTERS = struct.Struct("=II")
TESTS_FILE, PROMPT_FILE = "tests.py", "prompt.py"
_TESTS_FILES = frozenset({TESTS_FILE, PROMPT_FILE})
FINDINGS_NAME = "__rrtf_findings__"
"""What the test code calls the `Findings`, since preparing.py made it count its asserts there. Within a class too: Python gives
another name to what only begins with underscores."""
_MESSAGE_CHARS = 200
_TRACE_CHARS = 8_000
_FAILURES = 100
_OWN_FILES = {__file__, conversation.__file__, looks.__file__, membership.__file__, proxies.__file__}
_RUN_LATER = 0x20 | 0x80 | 0x200
"""Flags of the code of generators, coroutines and asynchronous generators."""
_ASKING = 3
"""Frames from a request to whoever asks for an attribute of a proxy."""
_RERAISE, _RAISE = opcode.opmap["RERAISE"], opcode.opmap["RAISE_VARARGS"]
_USES = {*vars(list), *vars(dict), *vars(set)} - {*vars(object), "__class_getitem__"}
"""Methods by which lists, dicts and sets are used."""
_NO_THREAD = "can't start new thread"
_CALLS = frozenset({"evaluate", "classes", "construct", "call", "getattr", "setattr", "delattr"})
"""What tests do with functions and objects of the program to get at data. All else puts an object in the place of data, also by
name, and `keys` are what a dict is made from:"""
_LOOKS_BY_NAME = frozenset({"__array__", "keys", *(f"__{op}__" for op in OPERATIONS)})
_OPEN = frozenset({*ALONE, *BETWEEN, "bool", "str", "repr", "format", "copy", "deepcopy"}) - {"isinstance"}
"""What operators and built-in functions do with an object."""
_OPEN_CLASSES = {
    "_io": {"StringIO", "BytesIO"},
    "unittest.mock": {"Mock", "MagicMock", "NonCallableMock", "NonCallableMagicMock"},
    "random": {"Random"},
    "types": {"SimpleNamespace"},
    "re": {"Pattern", "Match"},
    "array": {"array"},
    "queue": {"Queue", "LifoQueue", "PriorityQueue"},
    "_thread": {"lock", "RLock"},
    "threading": {"Event", "Condition", "Semaphore"},
}
_TOLD = frozenset({"__name__", "__qualname__", "__doc__", "__module__"})
"""What a function or a class tells of itself: decorators make use of it."""
_NAMES = {
    **dict.fromkeys((types.FunctionType, types.BuiltinFunctionType, types.MethodType, type), _TOLD),
    types.GeneratorType: {"send", "throw", "close"},
}
"""Attributes that the program may read, of what is closed to it otherwise."""


class Findings:
    """What the tests have found so far, in the file that the engine reads."""

    def __init__(self, fd: int) -> None:
        os.ftruncate(fd, COUNTERS.size)
        self._fd = fd
        self._counters = mmap.mmap(fd, COUNTERS.size)
        self._source = ""
        self.passed = 0
        self.failed = 0
        self.failures: list[list[Any]] = []
        self.error = ""

    def quote(self, source: str) -> None:
        """The test code, to quote from in messages."""
        self._source = source

    def ok(self) -> None:
        self.passed += 1
        COUNTERS.pack_into(self._counters, 0, self.passed, self.failed)

    def fail(self) -> None:
        """Note the exception that is being handled as the failure of a test."""
        error = sys.exception()
        assert error is not None
        trace: str | None = error.__dict__.get("_trace")
        if len(self.failures) < _FAILURES:
            name, number = type(error).__name__[:_MESSAGE_CHARS], errno_of(error)
            self.failures.append([self.passed + self.failed, self._message(error), trace is not None, name, number])
        self.error = self.error or (trace or "")[:_TRACE_CHARS]
        self.failed += 1
        COUNTERS.pack_into(self._counters, 0, self.passed, self.failed)

    def mark(self) -> None:
        """Note on the exception that is being handled that a test failed by it."""
        error = sys.exception()
        assert error is not None
        error.__dict__[FAILED_TEST] = True

    def is_failure(self) -> bool:
        """Whether the exception that is being handled is that of a test which failed, and not one that tests may wait for."""
        error = sys.exception()
        assert error is not None
        return isinstance(error, AssertionError) and FAILED_TEST in error.__dict__ and "_trace" not in error.__dict__

    def finish(self, state: str, *, delegated: bool = False, error: str = "") -> None:
        findings = {
            "state": state,
            "failures": self.failures,
            "delegated": delegated,
            "error": error[:_TRACE_CHARS] or self.error,
        }
        os.pwrite(self._fd, json.dumps(findings).encode(), COUNTERS.size)

    def _message(self, error: BaseException) -> str:
        text = ": ".join(filter(None, (type(error).__name__, _text(error))))
        lines = [frame.tb_lineno for frame in _frames(error) if frame.tb_frame.f_code.co_filename == TESTS_FILE]
        source = self._source.splitlines()
        if lines and lines[-1] <= len(source):
            text = f"{source[lines[-1] - 1].strip()[:_MESSAGE_CHARS]}: {text}"
        return text[: 2 * _MESSAGE_CHARS]


def _frames(error: BaseException) -> Iterator[types.TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # it may hold an object of the program's
        return ""


class _Watching(Set[type]):
    """Classes of the tests that see or forbid what is done to a list, a dict or a set: by value they would see nothing."""

    def __contains__(self, kind: object) -> bool:
        if not isinstance(kind, type) or kind.__module__ != "tests" or not issubclass(kind, list | dict | set):
            return False
        own = {name for base in kind.__mro__ if base.__module__ == "tests" for name in vars(base)}
        return not own.isdisjoint(_USES)

    def __iter__(self) -> Iterator[type]:
        return iter(())

    def __len__(self) -> int:
        return 0


class ExaminerSide(Conversation):
    """The tests' end of the conversation: lets the program call what it was handed, and nothing else."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.kept = _Watching()
        self._stops: list[StopIteration] = []
        self._seen = Seen(self._request, self)
        self._membership = Membership(self._request)

    def request(self, op: str, /, *args: Any, **kwargs: object) -> Any:
        if op == "getattr":
            self._note_reading(args[1], sys._getframe(_ASKING))
        self.delegated |= op not in _CALLS
        if op == "getattr" and args[1] == "__array__":
            return self._seen.array_method(args[0])
        if op == "contains":
            return self._membership.holds(*args)
        self._membership.tell(args[1:])
        if op in LOOKS:
            return self._seen.look(op, *args)
        if op == "next" and self._seen.is_read(args[0]):
            return self._seen.next_of_its_own(args[0])
        self._seen.begin_change()
        try:
            return self._request(op, *args, **kwargs)
        finally:
            self._seen.end_change()

    def _note_reading(self, name: str, asker: types.FrameType) -> None:
        """Note what reading that attribute of an object makes of it. Raises AttributeError for what is not for it to say.

        unittest asks for methods to hand what is expected to them: assertSetEqual has a set tell what another lacks. A mock of
        the tests that the program has replaced would say that it was called as it should be.
        """
        by_unittest = asker.f_globals.get("__name__") == "unittest.case" and not name.startswith("__")
        of_mock = _is_of_a_mock(name)
        if by_unittest or (of_mock and name.startswith("assert_")):
            raise AttributeError(name)
        self.delegated = self.delegated or of_mock or _is_look(name, asker)

    def _request(self, op: str, /, *args: object, **kwargs: object) -> Any:
        try:
            return super().request(op, *args, **kwargs)
        except StopIteration as error:
            if op != "next":
                self._stops.append(error)
            raise

    def _send(self, message: dict[str, Any]) -> None:
        super()._send(message)
        if "edits" in message:  # the tests changed what the program holds
            self._seen.forget()

    def check_conduct(self) -> None:
        """Raises what the program did that the tests by themselves would not notice.

        Such as a StopIteration of its own that ended a loop of theirs, whose asserts then did not run: map, zip and
        the like take it for their own end.
        """
        for error in self._stops:
            if not _was_caught(error.__traceback__):
                stopped = RuntimeError("the program raised StopIteration, which ended a loop of the tests")
                stopped.__dict__.update(error.__dict__)
                raise stopped
        if differing := self._seen.differing or self._membership.differing:
            raise AssertionError(f"an object of the program's was another one at another look: {differing}")

    def export(self, item: object) -> Row:
        if isinstance(item, types.ModuleType | types.FrameType | types.TracebackType | types.CodeType):
            raise TypeError(f"a {type(item).__name__} is not handed to the program")
        return super().export(item)

    def perform(self, op: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        target = args[0] if args else None
        if id(target) not in self._number_of:
            raise TypeError("the target was never handed out")
        if op == "call" and callable(target):
            return target(*args[1:], **kwargs)
        if op == "hash" and not _is_open(target):
            return self._number_of[id(target)]
        if op in ("str", "repr") and not _is_open(target):
            return f"<{type(target).__name__}>"
        if _may(op, target, args):
            # an object put in place of a mock's own may say of itself that it was called as it should be
            self.delegated |= op in ("setattr", "delattr") and type(target).__module__ == "unittest.mock"
            return OPERATIONS[op](*args)
        # an AttributeError is what libraries such as functools expect of an object that lacks something
        refusal = AttributeError if op == "getattr" else TypeError
        asked = args[1] if op == "getattr" else op
        raise refusal(f"{asked} is not for the program to ask of a {type(target).__name__}")


def _is_of_a_mock(name: str) -> bool:
    mocks = sys.modules.get("unittest.mock")
    return mocks is not None and (name == "method_calls" or (name[:1] != "_" and hasattr(mocks.NonCallableMock, name)))


def _is_look(name: str, asker: types.FrameType) -> bool:
    """Whether an attribute is read to take an object for data, as a library does, such as numpy.sum."""
    return name in _LOOKS_BY_NAME or not (name.startswith("__") or asker.f_code.co_filename in _TESTS_FILES)


def _was_caught(trace: types.TracebackType | None) -> bool:
    """Whether code of the tests caught an exception that came so far: a function that one leaves stands still where it arose."""
    if trace is None:  # who drops it has caught it
        return True
    if trace.tb_frame.f_code.co_filename in _OWN_FILES:
        return False
    frame = trace.tb_frame
    operation, argument = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    raises_again = operation == _RERAISE or (operation == _RAISE and argument == 0)
    return frame.f_lasti != trace.tb_lasti and not raises_again


def _is_open(target: object) -> bool:
    """Whether it is of the tests' own classes, or of a library's that lead nowhere else."""
    kind = type(target)
    return kind.__module__ == "tests" or kind.__name__ in _OPEN_CLASSES.get(kind.__module__, ())


def _is_of_own_class(target: object, name: str) -> bool:
    """Whether it is an attribute that a class of the tests has itself, not as a class."""
    if not isinstance(target, type) or target.__module__ != "tests":
        return False
    return not name.startswith("_") and found_in_class(target, name) is not None


def _may(op: str, target: object, args: list[Any]) -> bool:
    """Whether the program may do that to what it was handed: to an open object all but what is private or hides a method.

    Mocks and test cases are what tests make of them. What their library gives them is for the tests: to ask how a mock was
    called, to skip a test.
    """
    if not _is_open(target):
        if op == "getattr":
            return args[1] in _NAMES.get(type(target), ()) or _is_of_own_class(target, str(args[1]))
        return (op in ("iter", "next", "len", "getitem", "bool", "contains") and len(args) <= 2) or (
            op in ("eq", "ne") and type(target) in _NAMES
        )
    if op in ("getattr", "setattr", "delattr"):
        name = str(args[1])
        found = found_in_class(type(target), name)
        is_told = not any(name in vars(base) for base in type(target).__mro__ if base.__module__.startswith("unittest."))
        return not name.startswith("_") and is_told and (op == "getattr" or not hides_code(found))
    return op in _OPEN


def run(work: dict[str, Any], findings_fd: int, sock: socket.socket) -> NoReturn:
    """Run the tests that `work` holds, note what they found and end the process."""
    findings, side = Findings(findings_fd), ExaminerSide(sock)
    try:
        code, names = _prepare(work, findings, side)
    except BaseException as error:  # whatever the caller's code raises, it is no finding about the program
        findings.finish("gone" if _ran_out(error) else "unusable", error=f"{type(error).__name__}: {error}")
        os._exit(0)
    state, why = "done", ""
    try:
        with contextlib.suppress(Gone):
            _examine(work, names, code, findings, side)
    except BaseException as error:  # the test code's own fault, or the SystemExit of one that ends itself
        state, why = "unusable", f"{type(error).__name__.strip('_')}: {_text(error)}"
    findings.finish("gone" if side.gone else state, delegated=side.delegated, error=why)
    os._exit(0)


class _NoTests(Exception):
    """What calls itself tests and can tell nothing, whatever the program is."""


def _is_own_fault(error: BaseException, side: ExaminerSide, subjects: Iterable[object]) -> bool:
    """Whether no program can be to blame, whatever it may have handed over in place of what the tests expect.

    That is so for a module that is missing here (of which imports tell the name), for tests that end themselves and say that all
    is well, and for anything but an assertion before a function of the program's was used; but not where something ran out, which
    the program may have taken.
    """
    if "_trace" in error.__dict__ or _ran_out(error):
        return False
    match error:
        case _NoTests() | ImportError(name=str()) | SystemExit(code=None | 0):
            return True
    return _is_unused(side, subjects) and not isinstance(error, AssertionError)


def _ran_out(error: BaseException) -> bool:
    """Whether it is of something that program and tests share."""
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, MemoryError) or number in (errno.EAGAIN, errno.ENOMEM, errno.ENOSPC) or _text(error) == _NO_THREAD


def _is_unused(side: ExaminerSide, subjects: Iterable[object]) -> bool:
    """Whether the tests did nothing yet with what they would call."""
    return not side.used and all(isinstance(subject, CallableProxy) for subject in subjects)


def _prepare(work: dict[str, Any], findings: Findings, side: ExaminerSide) -> tuple[types.CodeType, dict[str, Any]]:
    module = sys.modules["tests"] = types.ModuleType("tests")
    names = module.__dict__
    prompt_code, test_code = marshal.loads(work["prepared"])
    exec(prompt_code, names)
    # The prompt may begin what the program is to write: of that, the program's is meant.
    side.classes = {name: item for name, item in names.items() if isinstance(item, type) and item.__module__ == "tests"}
    for entry in work["entry_points"]:
        side.classes.pop(entry, None)
    names[FINDINGS_NAME] = findings
    findings.quote(work["code"])
    return test_code, names


def _examine(work: dict[str, Any], names: dict[str, Any], code: types.CodeType, findings: Findings, side: ExaminerSide) -> None:
    subjects: dict[str, object] = {}
    try:
        side.request("classes", *side.classes)
        subjects = {entry: side.request("evaluate", entry, not work["check"]) for entry in work["entry_points"]}
        names.update({entry: subject for entry, subject in subjects.items() if entry.isidentifier()})
        side.used = False
        exec(code, names)
        if work["check"]:
            if work["check"] not in names:
                raise _NoTests(f"it defines no {work['check']}, which is to be called with the program's function")
            check = names[work["check"]]
            if isinstance(check, types.FunctionType) and check.__code__.co_flags & _RUN_LATER:
                raise _NoTests(f"{work['check']} is a generator or coroutine function, of which a call runs nothing")
            check(subjects[work["entry_points"][0]])
        if "unittest" in sys.modules:
            from .unittests import run_unittests

            run_unittests(names, findings)
        side.check_conduct()
        if not findings.failed and _is_unused(side, subjects.values()):
            raise _NoTests(f"it never uses {', '.join(subjects)}; call its test functions, or name one as the check")
    except Gone:
        raise
    except BaseException as error:  # such as the SystemExit of tests that found something wrong
        if _is_own_fault(error, side, subjects.values()):
            raise
        if not findings.failed:  # else it was noted where it arose
            findings.fail()
