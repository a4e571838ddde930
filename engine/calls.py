"""Tests that are calls: what to send into the jail, and what should come back out of it.

Function tests are calls by nature. Much test code is, too: `assert candidate([1, 2], 3) == [3]` with nothing but literals says
exactly that. Where all of it has this form the examiner is not needed: the calls go to the candidate, what is expected
stays in the engine and is compared here, and one cell does instead of two and a conversation. Whatever the form
does not cover keeps its examiner: other statements, names, comparisons, or a result that is no plain data.

For each call `lines` holds the report's line as an honest candidate writes it when the result is right, to the byte. A program
that passes is recognised by comparing bytes; only other lines are decoded.
"""

import ast
from dataclasses import dataclass
from functools import lru_cache

from engine.errors import BadJob
from engine.jail.inside.candidate import result_line
from engine.jail.inside.decoding import PlainData
from engine.jail.inside.encoding import Encoder
from engine.jail.inside.messages import packed
from engine.records import AssertTests, FunctionTest, FunctionTests

_CACHED_TESTS = 1024
_QUOTE_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Calls:
    """`work` is what the candidate is told, packed; `quotes` say what each call was, for people."""

    work: bytes
    expected: tuple[object, ...]
    lines: tuple[bytes, ...]
    quotes: tuple[str, ...]
    float_tolerance: float = 0.0


def calls_of_functions(tests: FunctionTests) -> Calls:
    """Raises BadJob where an argument is no plain data."""
    expected = tuple(test.expected for test in tests.tests)
    rows = [_arguments(index, test) for index, test in enumerate(tests.tests)]
    return Calls(
        work=packed({"entry_point": tests.entry_point, "tests": rows}),
        expected=expected,
        lines=_lines(expected),
        quotes=("",) * len(expected),
        float_tolerance=tests.float_tolerance,
    )


@lru_cache(maxsize=_CACHED_TESTS)
def calls_of_asserts(tests: AssertTests) -> Calls | None:
    """The calls that test code consists of, None where it is more than calls with literals."""
    try:
        found = _asserts(tests)
        compared = [_compared(node, subject, tests) for node, subject in found]
        expected = tuple(ast.literal_eval(value) for _, value in compared)
        lines = _lines(expected)
    except (_MoreThanCalls, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    thunks = "".join(f"lambda:{ast.unparse(call)}," for call, _ in compared)
    return Calls(
        work=packed({"entry_point": tests.entry_points[0], "calls": f"lambda {_SUBJECT}:({thunks})"}),
        expected=expected,
        lines=lines,
        quotes=tuple(ast.unparse(node)[:_QUOTE_CHARS] for node, _ in found),
    )


class _MoreThanCalls(Exception):
    """The test code has another form."""


_SUBJECT = "subject"


def _asserts(tests: AssertTests) -> list[tuple[ast.Assert, str]]:
    """Every assert with the name that stands for the first entry point in it."""
    body = ast.parse(tests.code).body
    subject = tests.entry_points[0]
    if tests.check:
        checks = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == tests.check]
        if len(checks) != 1 or checks[0].decorator_list or not all(_idle(node) for node in body if node is not checks[0]):
            raise _MoreThanCalls
        parameters = checks[0].args
        if len(parameters.args) != 1 or len(ast.unparse(parameters)) != len(parameters.args[0].arg):
            raise _MoreThanCalls
        body, subject = checks[0].body, parameters.args[0].arg
    elif len(tests.entry_points) != 1 or not subject.isidentifier():
        raise _MoreThanCalls
    found = [(node, subject) for node in body if isinstance(node, ast.Assert) and not _idle(node)]
    if not found or not all(isinstance(node, ast.Assert) or _idle(node) for node in body):
        raise _MoreThanCalls
    return found


def _idle(node: ast.stmt) -> bool:
    """Whether a statement does nothing that a test could notice: a docstring, `pass`, a name for a literal, `assert True`."""
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
        return _literal(node.value)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _compared(node: ast.Assert, subject: str, tests: AssertTests) -> tuple[ast.Call, ast.expr]:
    """The call in `assert call == literal`, with the name of the subject made ours, and the literal."""
    test = node.test
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        raise _MoreThanCalls
    sides = (test.left, test.comparators[0])
    call, expected = sides if isinstance(sides[0], ast.Call) else sides[::-1]
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != subject:
        raise _MoreThanCalls
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    if any(keyword.arg is None for keyword in call.keywords) or not all(map(_literal, [*arguments, expected])):
        raise _MoreThanCalls
    renamed = ast.Call(ast.Name(_SUBJECT, ast.Load()), call.args, call.keywords)
    return renamed, expected


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return False
    return True


def _lines(expected: tuple[object, ...]) -> tuple[bytes, ...]:
    return tuple(result_line(index, value) for index, value in enumerate(expected))


def _arguments(index: int, test: FunctionTest) -> dict[str, object]:
    encoder = Encoder(PlainData(), plain=True)
    try:
        args = [encoder.encode(value) for value in test.args]
        kwargs = {name: encoder.encode(value) for name, value in test.kwargs.items()}
    except TypeError as error:
        raise BadJob(f"function test {index}: {error}") from None
    return {"args": args, "kwargs": kwargs, "rows": encoder.rows}
