"""Makes test code ready to run, once for all the programs that it will test: parsed, with its asserts counted, compiled.

Runs in an examiner's cell with no program beside it, and runs nothing of what it compiles. The findings are one byte that says
whether it worked, then the code objects of prompt and tests in this interpreter's own format, or the reason.

Each assert is counted, and what leaves one is marked as the failure of a test, which no context of the program's forgives, and
no handler catches that names a class other than AssertionError or a base of it, since the class may be the program's; so is
what keeps an assert further down in a `with` from being reached. With the stop rule "run_all", an assert that fails lets the next
one run where that cannot change what the test code means: directly in the checking function or the module, in no `try` and no
`with`.
"""

import ast
import contextlib
import marshal
import os
import types
from typing import Any, NoReturn

from .examiner import FINDINGS_NAME, PROMPT_FILE, TESTS_FILE

READY, UNUSABLE = b"+", b"-"
_FAILURES = frozenset({"AssertionError", "Exception", "BaseException"})


def run(work: dict[str, Any], findings_fd: int) -> NoReturn:
    """Note the code objects for `work`, or why there are none, and end the process."""
    try:
        found = READY + marshal.dumps((_prompt_code(work["prompt"]), _test_code(work)))
    except BaseException as error:  # whatever is wrong with it, it is no test code
        found = UNUSABLE + f"{type(error).__name__}: {error}".encode(errors="backslashreplace")
    written = 0
    while written < len(found):
        written += os.pwrite(findings_fd, found[written:], written)
    os._exit(0)


def _prompt_code(prompt: str) -> types.CodeType:
    """The prompt's own code. It may end where the program goes on: then the part that stands by itself."""
    lines = prompt.splitlines(keepends=True)
    for end in range(len(lines), -1, -1):
        for tail in ("", "    pass\n"):
            with contextlib.suppress(SyntaxError):
                return compile("".join(lines[:end]) + tail, PROMPT_FILE, "exec", dont_inherit=True)
    raise AssertionError("unreachable: the empty prompt compiles")


def _test_code(work: dict[str, Any]) -> types.CodeType:
    counting = _Counting(work["check"], carry_on=work["stop"] == "run_all")
    tree = counting.visit(ast.parse(work["code"], TESTS_FILE))
    return compile(ast.fix_missing_locations(tree), TESTS_FILE, "exec", dont_inherit=True)


class _Counting(ast.NodeTransformer):
    """Puts a count behind each assert and a note around it, which ends its failure where that may let the next one run."""

    def __init__(self, check: str, *, carry_on: bool) -> None:
        self._check = check
        self._carry_on = carry_on

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        on_failure = [_note("fail")] if self._carry_on else _marking()
        return [_guarded([node], on_failure, [_note("ok")])]

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        return _guarded([node], _marking(), []) if _is_unittests(node) else node

    def visit_With(self, node: ast.With) -> ast.AST:
        return self._visit_with(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        return self._visit_with(node)

    def _visit_with(self, node: ast.With | ast.AsyncWith) -> ast.AST:
        last = max((index for index, inner in enumerate(node.body) if _is_to_be_reached(inner)), default=0)
        self._within(node, False)
        if last:
            node.body[:last] = [_guarded(node.body[:last], _marking(), [])]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._within(node, self._carry_on and node.name == self._check)

    def _visit_stopping(self, node: ast.AST) -> ast.AST:
        return self._within(node, False)

    visit_TryStar = visit_ClassDef = visit_AsyncFunctionDef = _visit_stopping

    def visit_Try(self, node: ast.Try) -> ast.AST:
        self._within(node, False)
        for handler in node.handlers:
            if not _catches_failures(handler):
                handler.body.insert(0, _passing_on_failures())
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        return _guarded([node], _marking(), []) if _is_failure(node) else node

    def _within(self, node: ast.AST, carry_on: bool) -> ast.AST:
        outside, self._carry_on = self._carry_on, carry_on
        self.generic_visit(node)
        self._carry_on = outside
        return node


def _is_unittests(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(ast.Call(ast.Attribute(attr=name))):
            return name.startswith("assert") or name == "fail"
    return False


def _is_failure(node: ast.Raise) -> bool:
    """Whether it is an assert by another name."""
    match node.exc:
        case ast.Name("AssertionError") | ast.Call(ast.Name("AssertionError")):
            return True
    return False


def _catches_failures(handler: ast.ExceptHandler) -> bool:
    """Whether it is meant to: others may name a class of the program's, which may be any."""
    names = [node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)] if handler.type else _FAILURES
    return not _FAILURES.isdisjoint(names)


def _is_to_be_reached(node: ast.stmt) -> bool:
    """Whether it is an assert: not one that says that nobody comes here."""
    match node:
        case ast.Assert(ast.Constant(value)):
            return bool(value)
    return isinstance(node, ast.Assert) or _is_unittests(node)


def _guarded(body: list[ast.stmt], on_failure: list[ast.stmt], on_success: list[ast.stmt]) -> ast.stmt:
    handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, on_failure)
    return ast.copy_location(ast.Try(body, [handler], on_success, []), body[0])


def _marking() -> list[ast.stmt]:
    return [_note("mark"), ast.Raise()]


def _passing_on_failures() -> ast.stmt:
    return ast.If(_call("is_failure"), [ast.Raise()], [])


def _note(method: str) -> ast.stmt:
    return ast.Expr(_call(method))


def _call(method: str) -> ast.expr:
    return ast.Call(ast.Attribute(ast.Name(FINDINGS_NAME, ast.Load()), method, ast.Load()), [], [])
