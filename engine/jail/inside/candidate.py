"""Runs the program, in its cell. Everything this process says afterwards is the program's word, not ours.

Three ways to run, by the kind of its tests: as a script; as a module whose function is called with each test's
arguments; as a module whose objects the examiner asks for. Or it is only compiled, and its code is the report. Else that is
lines of JSON: {"index", "ok", "rows"} for a call that returned data, {"index", "opaque"} for one that returned something else,
and for what goes wrong {"stage": "compile" | "run" | "call", "exception": name, "errno": number, "error": text}, with an
index where it was a call.
"""

import _thread
import atexit
import builtins
import contextlib
import enum
import functools
import gc
import io
import json
import linecache
import marshal
import os
import socket
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from .cell import HOME, write_files
from .conversation import Conversation
from .decoding import Decoder, PlainData
from .encoding import Encoder
from .operations import OPERATIONS

FILE = "solution.py"
_TRACE_CHARS, _FRAMES = 4000, 64
_REHEARSALS = 16
"""As many runs as it takes until the interpreter has specialised what it runs."""
_LARGEST_STATUS = 1 << 63
_LARGEST_ERRNO = 1 << 31
_PARTS: dict[Any, Callable[[Any], Any]] = {
    dict: dict.items,
    **{kind: kind.__iter__ for kind in (list, tuple, set, frozenset)},
}
_VALUE: dict[Any, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: bytes.__bytes__,
}
_BUFFERED = frozenset((io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom))


def _stream(fd: int, mode: str, name: str, errors: str, *, line_buffering: bool = False) -> io.TextIOWrapper:
    raw = io.FileIO(fd, mode, closefd=False)
    raw.name = name
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    stream: Any = io.TextIOWrapper(buffer, "utf-8", errors, line_buffering=line_buffering)
    stream.mode = mode
    return stream  # type: ignore[no-any-return]


# As an interpreter makes them. Before the fork, since making them costs a tenth of a program; of whatever process uses them.
_STREAMS = (
    _stream(0, "r", "<stdin>", "surrogateescape"),
    _stream(1, "w", "<stdout>", "surrogateescape"),
    _stream(2, "w", "<stderr>", "backslashreplace", line_buffering=True),
)


def rehearse() -> None:
    """Do, in the zygote, what every cell does: what runs for the first time is slow, and writes to memory that is shared."""
    for _ in range(_REHEARSALS):
        module = types.ModuleType("rehearsal")
        exec(compile(b"def f(x):\n    return [x]\n", FILE, "exec", dont_inherit=True), module.__dict__)
        work = {"entry_point": "f", "calls": "(lambda s:s(1),lambda s:s({'a':[2.5,(None,)]}),lambda s:s(-1))", "by_name": True}
        for index, call in enumerate(_calls(work, module.__dict__)):
            result_line(index, call())
        for stream in _STREAMS[1:]:
            stream.flush()


def run(work: dict[str, Any], report_fd: int, sock: socket.socket | None) -> NoReturn:
    """Run the program as `work` says, and end the process."""
    write_files(work["files"])
    module = _fresh_module("__main__" if work["kind"] == "script" else "solution")
    code = 0
    try:
        compiled = marshal.loads(work["code"]) if work["code"] else _compile(work["source"], report_fd)
        if work["kind"] == "compilation":
            _write(report_fd, marshal.dumps(compiled))
            _leave(0)
        linecache.cache[FILE] = (lambda: work["source"].decode("utf-8", "replace"),)  # for the traceback that there may be
        exec(compiled, module.__dict__)
        if work["kind"] == "functions":
            _call_each(marshal.loads(work["calls"]), module, report_fd)
        elif sock is not None:
            CandidateSide(sock, module).serve()
    except SystemExit as leaving:
        code = _exit_code(leaving)
    except BaseException as error:
        code = 1
        _tell(report_fd, "run", error)
    _leave(code, module if work["kind"] == "script" else None)


class CandidateSide(Conversation):
    """The program's end of the conversation: does whatever the examiner asks."""

    is_open = True

    def __init__(self, sock: socket.socket, module: types.ModuleType) -> None:
        super().__init__(sock)
        self._names = module.__dict__
        self.kept: set[type] = set()
        self._entry_points: dict[int, str] = {}
        """The names by which the tests call them."""

    def perform(self, op: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if op == "classes":
            self.classes = {name: self._names[name] for name in args if isinstance(self._names.get(name), type)}
            return None
        if op == "evaluate":
            return self._evaluate(*args)
        if op == "construct":
            return self.made(args[0](*args[1:], **kwargs))
        if op == "call" and (name := self._entry_points.get(id(args[0]))) is not None:
            args[0] = self._names.get(name, args[0])  # the program may have given the name to something else
        if op == "call" and isinstance(args[0], type) and not issubclass(args[0], enum.Enum):
            self.kept.add(args[0])  # such as a stack that is a list: the tests want its methods
        return OPERATIONS[op](*args, **kwargs)

    def _evaluate(self, entry_point: str, by_name: bool = False) -> Any:
        """An entry point: an expression of the problem's."""
        found = eval(entry_point, self._names)
        if by_name and entry_point in self._names and callable(found):
            self._entry_points[id(found)] = entry_point
        return found

    def trace(self, error: BaseException) -> str:
        return trace_of(error)


def settle() -> None:
    """Streams, arguments and `__main__` as a new interpreter would have them: once, in the zygote."""
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = _STREAMS  # type: ignore[misc]
    sys.argv = [FILE]
    sys.modules["__main__"] = types.ModuleType("__main__")


def start_afresh() -> None:
    """What a new interpreter has and a forked one has not."""
    if "numpy.random" in sys.modules:  # sharing.fork seeds `random`
        sys.modules["numpy.random"].seed()
    gc.enable()


def _fresh_module(module_name: str) -> types.ModuleType:
    module = types.ModuleType(module_name)
    module.__dict__.update(__file__=FILE, __builtins__=builtins, __annotations__={})
    sys.modules[module_name] = module
    return module


def _compile(source: bytes, report_fd: int) -> types.CodeType:
    try:
        compiled: types.CodeType = compile(source, FILE, "exec", dont_inherit=True)
        return compiled
    except BaseException as error:
        _tell(report_fd, "compile", error)
        _leave(1)


def _call_each(work: dict[str, Any], module: types.ModuleType, report_fd: int) -> None:
    """Make each call of `work` and report its result, or its exception, on a line of its own."""
    for index, call in enumerate(_calls(work, module.__dict__)):
        try:
            result = call()
            try:
                line = result_line(index, result)
            except TypeError:  # no plain data
                line = _line_of_other(index, result, exact="calls" in work)
        except Exception as error:
            line = _line({"index": index, **_description("call", error)})
        _write(report_fd, line)


def _line_of_other(index: int, result: object, *, exact: bool) -> bytes:
    """What is reported of a result that is no plain data: where it need not be `exact`, the plain data that it equals."""
    if not exact:
        with contextlib.suppress(TypeError):
            return result_line(index, _as_plain(result))
    return _line({"index": index, "opaque": type(result).__name__})


def _calls(work: dict[str, Any], names: dict[str, Any]) -> Iterator[Callable[[], Any]]:
    """The calls, either as source of a tuple of functions of what is called or as encoded arguments.

    Where tests call it by its name, a program may have given the name to something else in the meantime.
    """
    if "calls" in work:
        subject = eval(work["entry_point"], names)
        for call in eval(work["calls"], {}):
            yield functools.partial(call, eval(work["entry_point"], names) if work["by_name"] else subject)
    else:
        for test in work["tests"]:
            yield functools.partial(_call, work["entry_point"], names, test)


def _call(entry_point: str, names: dict[str, Any], test: dict[str, Any]) -> Any:
    decoder = Decoder(test["rows"], PlainData())
    kwargs = {name: decoder.value(atom) for name, atom in test["kwargs"].items()}
    return eval(entry_point, names)(*decoder.values(test["args"]), **kwargs)


def _as_plain(result: Any) -> Any:
    """The built-in data that a result equals: numpy's scalars and arrays, and subclasses such as a Counter or a named tuple."""
    if type(result).__module__ == "numpy" and hasattr(result, "tolist"):
        return result.tolist()
    for kind, parts in _PARTS.items():
        if isinstance(result, kind):
            return kind(map(_as_plain, parts(result)))
    for kind, value in _VALUE.items():
        if isinstance(result, kind) and type(result) is not bool:
            return value(result)
    return result


def result_line(index: int, result: object) -> bytes:
    """What is reported of a call that returned. Raises TypeError for what is no plain data."""
    encoder = Encoder(PlainData(), plain=True)
    return _line({"index": index, "ok": encoder.encode(result), "rows": encoder.rows})


def _line(content: dict[str, Any]) -> bytes:
    return _json(content).encode("utf-8", "surrogatepass") + b"\n"


_json = json.JSONEncoder(ensure_ascii=False).encode
"""Not in ASCII: of two escaped surrogates, a reader makes the one character that they stand for."""


def _description(stage: str, error: BaseException) -> dict[str, Any]:
    return {"stage": stage, "exception": type(error).__name__, "errno": errno_of(error), "error": trace_of(error)}


def errno_of(error: BaseException) -> int | None:
    """The number of an OSError, which a program may set to anything: also to one that JSON cannot be made of."""
    number = error.errno if isinstance(error, OSError) else None
    return number if type(number) is int and 0 <= number < _LARGEST_ERRNO else None


def _tell(report_fd: int, stage: str, error: BaseException) -> None:
    """Report what ended the program, and print it as an interpreter would."""
    _write(report_fd, _line(_description(stage, error)))
    with contextlib.suppress(Exception):  # the program may have closed or filled its stderr
        if sys.excepthook is sys.__excepthook__:
            print(trace_of(error), file=sys.stderr)
        else:
            sys.excepthook(type(error), error, error.__traceback__)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def trace_of(error: BaseException) -> str:
    """The traceback of an exception in frames of the program's own files, its last part where it is long."""
    try:
        whole = traceback.TracebackException(type(error), error, error.__traceback__, limit=-_FRAMES)
        own = [frame for frame in whole.stack if frame.filename == FILE or frame.filename.startswith(HOME)]
        whole.stack = traceback.StackSummary.from_list(own)
        text = "".join(whole.format(chain=False)).rstrip()
    except BaseException:  # the program's __str__ may do anything
        text = type(error).__name__
    return text if len(text) <= _TRACE_CHARS else "..." + text[-_TRACE_CHARS:]


def _exit_code(leaving: SystemExit) -> int:
    if leaving.code is None or isinstance(leaving.code, int):
        code = leaving.code or 0
        return code & 0xFF if -_LARGEST_STATUS <= code < _LARGEST_STATUS else 0xFF
    print(leaving.code, file=sys.stderr)
    return 1


def _leave(code: int, script: types.ModuleType | None = None) -> NoReturn:
    """End as an interpreter does, without the time that it takes to tear one down."""
    try:
        if script is not None and _thread._count():
            threading._shutdown()  # type: ignore[attr-defined]  # joins the threads that are no daemons
        atexit._run_exitfuncs()
        # Of the program's own making: what was there before the fork is frozen.
        files = [thing for thing in gc.get_objects() if type(thing) in _BUFFERED]
        _flush(files)
        if script is not None:
            _let_go(script)
            with contextlib.suppress(Exception):  # what went may have closed what it wrote to
                _flush(files)
    except BaseException as error:
        code = code or 120  # what an interpreter says when its last flush fails
        with open(2, "wb", buffering=0, closefd=False) as stderr:
            stderr.write(repr(error).encode(errors="replace"))
    finally:
        os._exit(code)


def _let_go(script: types.ModuleType) -> None:
    """Drop what the script's names hold, for the sake of what happens when it goes."""
    for name in [name for name in script.__dict__ if name != "__builtins__"]:
        script.__dict__[name] = None


def _flush(files: list[Any]) -> None:
    """Write out what open files hold back; only standard streams that are still there may fail at it."""
    for file in files:
        with contextlib.suppress(Exception):
            file.flush()
    for stream in (sys.stdout, sys.stderr, *_STREAMS[1:]):
        if stream is not None and not stream.closed:
            stream.flush()
