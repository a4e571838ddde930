"""What one side holds in place of an object that lives on the other side.

A proxy asks the other side for everything, for what every object has as well, such as a docstring. But it never hands over
what it is compared or combined with. `candidate(3) == 7` with a proxy on the left is False without asking, since the program
would learn the 7 and decide by itself whether its answer is right. Two proxies may be compared with each other: that the
program's own class decides. The conversation remembers where an object stood in the place of data (`delegated`). What is answered
without asking is a use of the object all the same (`used`).
"""

import functools
import types
from collections.abc import Iterable
from typing import Any, Protocol

from .operations import ALONE, BETWEEN

_OWN = frozenset({"__class__", "__call__", "__copy__", "__deepcopy__"})
"""What a proxy answers by itself, since the interpreter or a library acts on what it is told."""
_CLASSES: dict[str, type] = {"generator": types.GeneratorType}
"""Built-in classes that tests ask for by isinstance()."""
_NUMPYS = frozenset(
    f"__array_{name}__" for name in ("interface", "struct", "priority", "wrap", "prepare", "finalize", "ufunc", "function")
)
"""By which numpy finds the memory of an array, where an address means another thing here, and lets an object have a say in what
it is combined with, which is not for the program to see. `__array__` only says what the object is."""


FAILED_TEST = "_failed_test"
"""Attribute of an exception by which a test failed."""


class Asker(Protocol):
    """The side of a conversation that proxies need."""

    used: bool
    delegated: bool

    def request(self, op: str, /, *args: object, **kwargs: object) -> Any: ...


class Proxy:
    """An object of the other side. Parameters are positional: the object may use any name."""

    __slots__ = ("_conversation", "_number")

    def __init__(self, conversation: Asker, number: int, /) -> None:
        object.__setattr__(self, "_conversation", conversation)
        object.__setattr__(self, "_number", number)

    def __getattribute__(self, name: str, /) -> Any:
        if name in _OWN:
            return object.__getattribute__(self, name)
        if name in _NUMPYS:
            raise AttributeError(name)
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: object, /) -> None:
        _ask(self, "setattr", name, value)

    def __delattr__(self, name: str, /) -> None:
        _ask(self, "delattr", name)

    @property  # type: ignore[misc]  # nobody may set it
    def __class__(self) -> Any:
        _conversation_of(self).used = True  # isinstance() asks for this where the type alone does not say yes
        claimed = _CLASSES.get(type(self).__name__)
        _conversation_of(self).delegated |= claimed is not None
        return claimed or type(self)

    def __eq__(self, other: object, /) -> Any:
        return _between(self, "eq", other)

    def __ne__(self, other: object, /) -> Any:
        return _between(self, "ne", other)

    def __instancecheck__(self, item: object, /) -> bool:
        return isinstance(item, Proxy) and bool(_ask(self, "isinstance", item))

    def __bool__(self, /) -> bool:
        return bool(_ask(self, "bool"))

    def __copy__(self, /) -> Any:
        return _ask(self, "copy")

    def __deepcopy__(self, copied: object, /) -> Any:
        return _ask(self, "deepcopy")  # what was copied before is not for the other side to see

    def __format__(self, spec: str, /) -> str:
        return str(_ask(self, "format", spec))

    def __str__(self, /) -> str:
        return str(_ask(self, "str"))

    def __repr__(self, /) -> str:
        return str(_ask(self, "repr"))


class CallableProxy(Proxy):
    """A function, a method or a class of the other side."""

    __slots__ = ()

    def __call__(self, /, *args: object, **kwargs: object) -> Any:
        return _ask(self, "call", *args, **kwargs)


def _is_of_a_test(error: BaseException) -> bool:
    return FAILED_TEST in error.__dict__ or (isinstance(error, AssertionError) and "_trace" not in error.__dict__)


def _ask(proxy: Proxy, op: str, /, *args: object, **kwargs: object) -> Any:
    return _conversation_of(proxy).request(op, proxy, *args, **kwargs)


def _between(proxy: Proxy, op: str, other: object) -> Any:
    if isinstance(other, Proxy):
        return _ask(proxy, op, other)
    _conversation_of(proxy).used = _conversation_of(proxy).delegated = True
    return NotImplemented


def _conversation_of(proxy: Proxy) -> Asker:
    conversation: Asker = object.__getattribute__(proxy, "_conversation")
    return conversation


def _asking(op: str) -> Any:
    def method(self: Proxy, /, *args: object) -> Any:
        return _ask(self, op, *args)

    return method


def _between_proxies(op: str) -> Any:
    def method(self: Proxy, other: object, /) -> Any:
        return _between(self, op, other)

    return method


def _exit(self: Proxy, kind: object, error: object, trace: object, /) -> Any:
    if isinstance(error, BaseException) and _is_of_a_test(error):
        _ask(self, "exit", None, None, None)  # a test that failed is not for the program to see, or to forgive
        return False
    return _ask(self, "exit", kind, error, None)  # a traceback leads to what the tests know


def _bound(self: CallableProxy, instance: object, owner: object = None, /) -> Any:
    return self if instance is None else types.MethodType(self, instance)


_SPECIAL: dict[str, Any] = {
    **{f"__{op}__": _asking(op) for op in ALONE},
    **{f"__{op}__": _between_proxies(op) for op in BETWEEN.keys() - {"eq", "ne", "isinstance"}},
    "__exit__": _exit,
}
_BINDING: dict[str, Any] = {"__get__": _bound}
"""Of functions only: in a class of the tests, such as behind a decorator, they are methods."""
_FUNCTIONS = (types.FunctionType, type(functools.cache(abs)))


def special_methods_of(kind: type) -> list[str]:
    """Those that a stand-in for an instance has to have as well: they say what it is, such as an iterator."""
    found = [name for name in _SPECIAL if getattr(kind, name, None) is not None]
    if not {"__iter__", "__getitem__"} & set(found):  # what it contains, it has to show
        found = [name for name in found if name != "__contains__"]
    return found + list(_BINDING if kind in _FUNCTIONS else ())


def proxy_of(conversation: Asker, number: int, name: str, special: Iterable[str], *, is_callable: bool) -> Proxy:
    """A stand-in for object `number` of the other side; its class has the name and the special methods of that one's class.

    What can be called has all of them: that it does not do something is for the other side to say, and such a use to be noted.
    """
    methods = {*_SPECIAL, *special} if is_callable else special
    kind = _class_with(name, frozenset(methods), CallableProxy if is_callable else Proxy)
    proxy: Proxy = kind(conversation, number)
    return proxy


@functools.lru_cache(maxsize=256)
def _class_with(name: str, special: frozenset[str], base: type[Proxy]) -> Any:
    return type(name, (base,), {"__slots__": (), **{item: (_SPECIAL | _BINDING)[item] for item in special}})
