"""Tests that are calls: what to send into the jail, and what should come back out of it.

Function tests are calls by nature. Much test code is, too: `assert candidate([1, 2], 3) == [3]` with nothing but literals says
exactly that. Where all of it has such a form the examiner is not needed: the calls go to the candidate, what is expected
stays in the engine and is compared here, and one cell does instead of two and a conversation. Whatever the forms
do not cover keeps its examiner: other statements, names, comparisons, or a result that is no plain data. The forms:

    call == literal    call is None, True, False    call    not call    abs(call - number) < number

Arithmetic with small numbers, such as 3 * 19, counts as a literal. For each call `lines` holds the report's line as an honest
candidate writes it when the result is right, to the byte: a program that passes is recognised by comparing bytes.
"""

import ast
import builtins
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.errors import BadJob
from engine.expectations import Equal, Expectation, Near, Same, Truth, likely_line
from engine.jail.inside.decoding import PlainData
from engine.jail.inside.encoding import Encoder
from engine.jail.inside.messages import packed
from engine.records import AssertTests, FunctionTest, FunctionTests

_CACHED_TESTS = 512
_MANY_VALUES = 5_000
"""Some ten milliseconds, where they are lists."""
_LONGEST_CODE = 1 << 15
"""With the prompt. Looking at more would keep the engine from its other clients, and the program would pay for compiling it; and
whatever was looked at is kept."""
_QUOTE_CHARS = 200
_SUBJECT = "subject"


@dataclass(frozen=True, kw_only=True)
class Calls:
    """`work` is what the candidate is told, packed; `quotes` say what each call was, for people."""

    work: bytes
    expected: tuple[Expectation, ...]
    lines: tuple[bytes, ...]
    quotes: tuple[str, ...]


def calls_of_functions(tests: FunctionTests) -> Calls:
    """Raises BadJob where an argument is no plain data."""
    expected = tuple(Equal(test.expected, tests.float_tolerance) for test in tests.tests)
    rows = [_arguments(index, test) for index, test in enumerate(tests.tests)]
    return Calls(
        work=packed({"entry_point": tests.entry_point, "tests": rows}),
        expected=expected,
        lines=_lines(expected),
        quotes=("",) * len(expected),
    )


def has_many_values(tests: FunctionTests) -> bool:
    """Whether making calls of them takes so long that nobody should wait for it."""
    pending: list[Any] = [part for test in tests.tests for part in (test.args, test.kwargs, test.expected)]
    for seen in range(_MANY_VALUES):
        if not pending or seen + len(pending) > _MANY_VALUES:
            break
        value = pending.pop()
        if isinstance(value, list | tuple | set | frozenset):
            pending += value
        elif isinstance(value, Mapping):
            pending += [*value.keys(), *value.values()]
    return bool(pending)


def calls_of_asserts(tests: AssertTests) -> Calls | None:
    """The calls that test code consists of, None where it is more than calls with literals, or long."""
    length = sum(map(len, (tests.code, tests.prompt, tests.check, *tests.entry_points)))
    return _calls_of_asserts(tests) if length <= _LONGEST_CODE else None


@lru_cache(maxsize=_CACHED_TESTS)
def _calls_of_asserts(tests: AssertTests) -> Calls | None:
    try:
        found = _asserts(tests)
        quotes = tuple(ast.unparse(node)[:_QUOTE_CHARS] for node, _ in found)
        expecting = [_expecting(_Folding().visit(node.test), subject) for node, subject in found]
        if any(isinstance(expectation, Near) for _, expectation in expecting) and not _abs_is_built_in(tests):
            return None
        expected = tuple(expectation for _, expectation in expecting)
        lines = _lines(expected)
    except (_MoreThanCalls, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    thunks = "".join(f"lambda {_SUBJECT}:{ast.unparse(call)}," for call, _ in expecting)
    return Calls(
        work=packed({"entry_point": tests.entry_points[0], "calls": f"({thunks})", "by_name": not tests.check}),
        expected=expected,
        lines=lines,
        quotes=quotes,
    )


class _MoreThanCalls(Exception):
    """The test code has another form."""


def _asserts(tests: AssertTests) -> list[tuple[ast.Assert, str]]:
    """Every assert with the name that stands for the first entry point in it."""
    body = ast.parse(tests.code).body
    subject = tests.entry_points[0]
    telling = {*tests.entry_points, tests.check, "abs"}
    if tests.check:
        checks = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == tests.check]
        if (
            len(checks) != 1
            or checks[0].decorator_list
            or not all(_idle(node, telling) for node in body if node is not checks[0])
        ):
            raise _MoreThanCalls
        parameters = checks[0].args
        if len(parameters.args) != 1 or len(ast.unparse(parameters)) != len(parameters.args[0].arg):
            raise _MoreThanCalls
        body, subject = checks[0].body, parameters.args[0].arg
    elif len(tests.entry_points) != 1 or not subject.isidentifier():
        raise _MoreThanCalls
    telling.add(subject)
    found = [(node, subject) for node in body if isinstance(node, ast.Assert) and not _idle(node, telling)]
    if not found or not all(isinstance(node, ast.Assert) or _idle(node, telling) for node in body):
        raise _MoreThanCalls
    return found


def _abs_is_built_in(tests: AssertTests) -> bool:
    return "abs" not in tests.prompt and "abs" not in tests.entry_points


def _idle(node: ast.stmt, telling: set[str]) -> bool:
    """Whether a statement does nothing that a test could notice: a docstring, `pass`, a name for a literal, `assert True`.

    `telling` are the names that mean something to the tests.
    """
    match node:
        case ast.Assert(ast.Constant(value)):
            return bool(value)
        case ast.Assign(targets, value):
            return _literal(value) and all(isinstance(name, ast.Name) and name.id not in telling for name in targets)
        case ast.Expr(ast.Name(name)):
            return hasattr(builtins, name)
        case ast.Pass() | ast.Expr(ast.Constant()):
            return True
    return False


def _expecting(test: ast.expr, subject: str) -> tuple[ast.Call, Expectation]:
    """The call in what is asserted, with the name of the subject made ours, and what is expected of it."""
    match test:
        case ast.Call() if _is_call(test, subject):
            return _renamed(test), Truth(True)
        case ast.UnaryOp(ast.Not(), ast.Call() as call) if _is_call(call, subject):
            return _renamed(call), Truth(False)
        case ast.Compare(ast.Call() as call, [ast.Eq()], [expected]) if _is_call(call, subject):
            return _renamed(call), Equal(_value(expected))
        case ast.Compare(expected, [ast.Eq()], [ast.Call() as call]) if _is_call(call, subject):
            return _renamed(call), Equal(_value(expected))
        case ast.Compare(ast.Call() as call, [ast.Is()], [ast.Constant(None | True | False as value)]) if _is_call(call, subject):
            return _renamed(call), Same(value)
        case ast.Compare(
            ast.Call(ast.Name("abs"), [ast.BinOp(ast.Call() as call, ast.Sub(), ast.Constant(int() | float() as value))], []),
            [ast.Lt()],
            [ast.Constant(int() | float() as bound)],
        ) if subject != "abs" and _is_call(call, subject) and bound > 0 and math.isfinite(value):
            return _renamed(call), Near(value, bound)
    raise _MoreThanCalls


def _is_call(call: ast.Call, subject: str) -> bool:
    """Whether it calls the subject with nothing but literals."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    named = isinstance(call.func, ast.Name) and call.func.id == subject
    return named and all(keyword.arg is not None for keyword in call.keywords) and all(map(_literal, arguments))


def _renamed(call: ast.Call) -> ast.Call:
    return ast.Call(ast.Name(_SUBJECT, ast.Load()), call.args, call.keywords)


def _value(node: ast.expr) -> object:
    """Raises _MoreThanCalls where the node is no literal."""
    if not _literal(node):
        raise _MoreThanCalls
    return ast.literal_eval(node)


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SMALL, _SMALL_EXPONENT = 1 << 64, 64


class _Folding(ast.NodeTransformer):
    """Works out arithmetic with small numbers, and texts that are put together, as the interpreter itself would."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        match node:
            case ast.BinOp(ast.Constant(str() as left), ast.Add(), ast.Constant(str() as right)):
                return ast.Constant(left + right)
            case ast.BinOp(ast.Constant(int() | float() as left), _, ast.Constant(int() | float() as right)):
                small = abs(left) < _SMALL and abs(right) < (_SMALL_EXPONENT if isinstance(node.op, ast.Pow) else _SMALL)
                if small and type(node.op) in _ARITHMETIC:
                    return self._worked_out(node, left, right)
        return node

    def _worked_out(self, node: ast.BinOp, left: float, right: float) -> ast.expr:
        try:
            result = _ARITHMETIC[type(node.op)](left, right)
        except ArithmeticError:
            return node
        return ast.Constant(result) if isinstance(result, int | float) else node


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return False
    return True


def _lines(expected: tuple[Expectation, ...]) -> tuple[bytes, ...]:
    return tuple(likely_line(index, expectation) for index, expectation in enumerate(expected))


def _arguments(index: int, test: FunctionTest) -> dict[str, object]:
    encoder = Encoder(PlainData(), plain=True)
    try:
        args = [encoder.encode(value) for value in test.args]
        kwargs = {name: encoder.encode(value) for name, value in test.kwargs.items()}
    except TypeError as error:
        raise BadJob(f"function test {index}: {error}") from None
    return {"args": args, "kwargs": kwargs, "rows": encoder.rows}
