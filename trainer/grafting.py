"""A whole program as what follows a preamble.

Candidates are kept as completions: what the model wrote behind the preamble, which the problem gives. A response that says the
preamble again, or states the function in its own words, is brought into that form:

    preamble     def add(a, b):                        program      from math import fsum
                     \"\"\"Adds.\"\"\"                                     def add(a, b):
                                                                        return fsum((a, b))

    completion       return fsum((a, b))
                 from math import fsum

The body comes first, then the rest of the program: a function looks its helpers up when it is called. Where that is not the same
thing (other parameter names, decorators, code that cannot be parsed), the preamble's function gets an empty body and the program
defines it anew below.
"""

import ast
import re
import textwrap

type Function = ast.FunctionDef | ast.AsyncFunctionDef


def graft(program: str, preamble: str, name: str) -> str:
    """What of a program follows the preamble, which asks for the function `name`; a program of its own is returned as it is."""
    said = preamble.strip()
    if said and program.lstrip().startswith(said):
        return program.lstrip()[len(said) :].removeprefix("\n" if preamble.endswith("\n") else "")
    asked = left_open(preamble, name)
    if asked is None or not definition_of(name).search(program):
        return program
    indent = " " * asked.body[0].col_offset
    stated = _stated(program, name, asked.col_offset)
    if stated is None or _parameters(stated) != _parameters(asked) or stated.decorator_list:
        return f"{indent}pass\n\n\n{program}"
    return _body_first(program.splitlines(keepends=True), stated, preamble, indent)


def definition_of(name: str) -> re.Pattern[str]:
    """Finds where a text defines the function or class."""
    return re.compile(rf"^([ \t]*)(?:async[ \t]+)?(?:def|class)[ \t]+{re.escape(name)}\b", re.MULTILINE)


def function_name(entry_point: str) -> str:
    """What a program must define: of `Solution().twoSum`, the method."""
    words: list[str] = re.findall(r"\w+", entry_point)
    return words[-1] if words else ""


def left_open(preamble: str, name: str) -> Function | None:
    """The preamble's own definition of the function, with a body where it has none."""
    definition = definition_of(name).search(preamble) if name else None
    if definition is None:
        return None
    with_body = f"{preamble.rstrip()}\n{definition[1]}    pass\n"
    return _stated(preamble, name) or _stated(with_body, name)


def _stated(program: str, name: str, depth: int | None = None) -> Function | None:
    """The last function of that name, at that depth where one is given; None also where the program cannot be parsed."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = [node for node in functions if node.name == name and depth in (None, node.col_offset)]
    return found[-1] if found else None


def _parameters(function: Function) -> list[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [type(function).__name__, *(argument.arg for argument in every)]


def _body_first(lines: list[str], stated: Function, preamble: str, indent: str) -> str:
    """The body, then what stood in front of the function inside its class, behind it, and in front of it at the top."""
    begins = next((node for node in stated.body if not _is_docstring(node)), None)
    if begins is None or stated.end_lineno is None or begins.lineno == stated.lineno:
        return f"{indent}pass\n\n\n{''.join(lines)}"
    start = begins.lineno - 1
    while lines[start - 1].lstrip().startswith("#"):
        start -= 1
    body = "".join(lines[start : stated.end_lineno])
    if begins.col_offset != len(indent):
        body = textwrap.indent(textwrap.dedent(body), indent)
    before = lines[: stated.lineno - 1]
    outer = max((number for number, line in enumerate(before) if line[:1] not in " \t\n" and stated.col_offset), default=None)
    at_top = before if outer is None else before[:outer]
    in_class = [] if outer is None else before[outer + 1 :]
    rest = [*in_class, *lines[stated.end_lineno :], *(line for line in at_top if line.strip() and line not in preamble)]
    joined = "".join(rest).strip("\n")
    return body.rstrip("\n") + "\n" + (f"\n\n{joined}\n" if joined.strip() else "")


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
