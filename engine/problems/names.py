"""Which names test code takes from the program, found by reading both as syntax trees.

The solution a problem brings says what a program defines; of that, what the tests mention is what they take from a program. What
the solution imports and the tests use is trusted and goes to the tests as an import of their own. Without a solution,
whatever the tests use and neither define nor find among the built-ins must come from the program.
"""

import ast
import builtins
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    entry_points: tuple[str, ...]
    imports: tuple[str, ...] = ()
    """Import statements of the solution that the tests rely on."""


def names_from_program(tests: str, solution: str | None, *, strict: bool = True) -> Names:
    """The names. Raises ValueError where either is no Python or, if strict, where the tests use nothing of the program."""
    tree = _parsed(tests, "the tests")
    used = _used(tree)
    if solution is None:
        names = Names(entry_points=tuple(name for name in used if name not in _bound(tree) and not hasattr(builtins, name)))
    else:
        gold = _parsed(solution, "the solution")
        defined, imports = _bound_at_top(gold), _imports(gold)
        own = _bound(tree)
        names = Names(
            entry_points=tuple(name for name in used if name in defined and name not in own),
            imports=tuple(dict.fromkeys(imports[name] for name in used if name in imports and name not in own)),
        )
    if strict and not names.entry_points:
        raise ValueError("the tests use nothing that the solution defines, so they test nothing")
    return names


def _parsed(code: str, what: str) -> ast.Module:
    try:
        return ast.parse(code)
    except SyntaxError as error:
        raise ValueError(f"{what} cannot be parsed: {error.msg} at line {error.lineno} of them") from error


def _used(tree: ast.Module) -> list[str]:
    """Names that are read, each once, in the order in which they first stand in the code."""
    loads = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    loads.sort(key=lambda node: (node.lineno, node.col_offset))
    return list(dict.fromkeys(node.id for node in loads))


def _bound(tree: ast.Module) -> set[str]:
    """Names that the code binds anywhere: it does not take them from elsewhere."""
    bound = set(_imports(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
    return bound


def _bound_at_top(tree: ast.Module) -> set[str]:
    """Names that a module defines itself, also inside its top-level ifs and tries."""
    bound: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                bound.add(name)
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                pass  # scopes of their own
            case _:
                pending.extend(ast.iter_child_nodes(node))
    return bound


def _imports(tree: ast.Module) -> dict[str, str]:
    """Names that top-level imports bind, with an import statement for each."""
    statements = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                statements[name] = ast.unparse(node)
    return statements
