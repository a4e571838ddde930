"""What one side holds in place of an object that lives on the other side.

A proxy asks the other side for everything, but for one thing: it never hands over what it is compared or combined
with. `candidate(3) == 7` with a proxy on the left is False without asking, since the program would learn the 7 and decide by
itself whether its answer is right. Two proxies may be compared with each other: that the program's own class decides, and the
conversation remembers that it did (`delegated`). What is answered without asking is a use of the object all the same (`used`).
"""

from typing import Any, Protocol

from .operations import ALONE, BETWEEN

_ADDRESSES = frozenset({"__array_interface__", "__array_struct__"})
"""Where numpy finds the memory of an array: an address means another thing in another process."""


FAILED_TEST = "_failed_test"
"""Attribute of an exception by which a test failed."""


class Asker(Protocol):
    """The side of a conversation that proxies need."""

    used: bool

    def request(self, op: str, /, *args: object, **kwargs: object) -> Any: ...


class Proxy:
    """An object of the other side. Parameters are positional and names start with an underscore: the object may use any."""

    __slots__ = ("_conversation", "_name", "_number")

    def __init__(self, conversation: Asker, number: int, name: str, /) -> None:
        object.__setattr__(self, "_conversation", conversation)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name: str, /) -> Any:
        if name in _ADDRESSES:
            raise AttributeError(name)
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: object, /) -> None:
        _ask(self, "setattr", name, value)

    def __delattr__(self, name: str, /) -> None:
        _ask(self, "delattr", name)

    @property  # type: ignore[misc]  # nobody may set it
    def __class__(self) -> Any:
        _conversation_of(self).used = True  # isinstance() asks for this where the type alone does not say yes
        return type(self)

    def __eq__(self, other: object, /) -> Any:
        return True if self is other else _between(self, "eq", other)

    def __ne__(self, other: object, /) -> Any:
        return False if self is other else _between(self, "ne", other)

    def __instancecheck__(self, item: object, /) -> bool:
        return isinstance(item, Proxy) and bool(_ask(self, "isinstance", item))

    def __exit__(self, kind: object, error: object, trace: object, /) -> Any:
        if isinstance(error, BaseException) and _is_of_a_test(error):
            _ask(self, "exit", None, None, None)  # a test that failed is not for the program to see, or to forgive
            return False
        return _ask(self, "exit", kind, error, None)  # a traceback leads to what the tests know

    def __bool__(self, /) -> bool:
        return bool(_ask(self, "bool"))

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
    _conversation_of(proxy).used = True
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


for _op in ALONE.keys() - {"exit"}:
    setattr(Proxy, f"__{_op}__", _asking(_op))
for _op in BETWEEN.keys() - {"eq", "ne", "isinstance"}:
    setattr(Proxy, f"__{_op}__", _between_proxies(_op))


def proxy_of(conversation: Asker, number: int, name: str, *, is_callable: bool) -> Proxy:
    """A stand-in for object `number` of the other side, whose class is called `name`."""
    return (CallableProxy if is_callable else Proxy)(conversation, number, name)
