"""What can be asked for of an object on the other side, by the name of the operation."""

import copy
import math
import operator
from typing import Any


def _call(target: Any, /, *args: Any, **kwargs: Any) -> Any:
    return target(*args, **kwargs)


def _enter(target: Any) -> Any:
    return type(target).__enter__(target)


def _exit(target: Any, kind: object, error: object, trace: object) -> Any:
    return type(target).__exit__(target, kind, error, trace)


def _isinstance(kind: Any, item: object) -> bool:
    return isinstance(item, kind)


_KEYED = ("index", "neg", "pos", "invert", "getitem", "setitem", "delitem")
_COMPARING = ("eq", "ne", "lt", "le", "gt", "ge")
_COMBINING = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "xor", "matmul", "lshift", "rshift")
_IN_PLACE = tuple(f"i{name}" for name in (*_COMBINING, "and", "or"))

ALONE: dict[str, Any] = {
    **{item.__name__: item for item in (len, iter, next, int, float, complex, abs, round, reversed, hash)},
    **{item.__name__: item for item in (math.floor, math.ceil, math.trunc)},
    **{name: getattr(operator, name) for name in _KEYED},
    "contains": operator.contains,
    "enter": _enter,
    "exit": _exit,
}
"""Special methods that take nothing, or a key."""

BETWEEN: dict[str, Any] = {
    **{name: getattr(operator, name) for name in _COMPARING + _COMBINING + _IN_PLACE},
    "and": operator.and_,
    "or": operator.or_,
    "divmod": divmod,
    "isinstance": _isinstance,
}
"""Operations on two objects of the other side: they let the program's own classes decide."""

OPERATIONS: dict[str, Any] = {
    **ALONE,
    **BETWEEN,
    **{item.__name__: item for item in (bool, str, repr, format, getattr, setattr, delattr, copy.copy, copy.deepcopy)},
    "call": _call,
}
