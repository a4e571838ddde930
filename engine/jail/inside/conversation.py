"""Two processes speaking over a socket: the examiner asks the candidate to do things with its objects, and
the candidate asks the examiner to call what it was handed.

A frame is four bytes of length and a JSON object. A request is

    {"op": name, "args": atoms, "kwargs": {name: atom}, "rows": table}

Whoever waits for a reply answers the requests that come meanwhile, so calls nest like calls do. A reply is

    {"ok": atom, "rows": table, "changed": [[n, row], ...]}      row n of the request's table changed in place
    {"raised": lineage, "args": atoms, "fields": {name: atom}, "cause": atom, "rows": table, "changed": as above,
     "text": str, "trace": str, "kind": number of a class of the other side's, "mine" or "yours": number of the exception}

A lineage is [name, lineages of the bases that are exceptions, module, number of the class]: several may have one name.

Data crosses by value (encoding.py); what is held beyond a call is kept the same on both sides (aliases.py). Other objects stay
where they are: each side numbers those it has handed out ("mine") and holds one `Proxy` for each that it was handed; a proxy that
goes back is "yours". An exception is made anew, but one that comes back is itself. Threads take turns. Subclasses say what they
let the other side do.
"""

import contextlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Set
from typing import Any

from .aliases import Aliases, Holds, held_in, is_same, look
from .decoding import MUTABLE_KINDS, Decoder, Malformed, set_free_field, untrusted
from .encoding import BUILTIN_TYPES, Encoder, Row
from .proxies import Proxy, proxy_of, special_methods_of

_LENGTH = struct.Struct("!I")
_FRAME_BYTES = 1 << 28
_LIBRARIES = (sys.stdlib_module_names | {"numpy"}) - {"unittest"}
"""Whose exceptions arrive as what they are, where tests know them; those of unittest would say how a test went."""


class Gone(BaseException):
    """The other process left, or does not keep to the protocol. No `except Exception` of test code may catch it."""


class _StandIn(type):
    """The class of stand-ins for exception classes of the other side's."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        make = cls.__dict__.get("_make")  # not of a class that is derived from a stand-in
        return make(cls, args, kwargs) if make is not None else super().__call__(*args, **kwargs)


class Conversation:
    """One end. `classes` are the classes whose instances cross by value, by name."""

    is_open = False

    def __init__(self, sock: socket.socket) -> None:
        self.classes: dict[str, type] = {}
        self.kept: Set[type] = frozenset()
        self.gone = False
        self.used = False
        """Whether this side did anything with an object of the other side's since this was last set to False."""
        self.delegated = False
        """Whether an object of the other side's stood in the place of data: it was compared, counted, iterated or shown."""
        self._socket = sock
        self._turn = threading.RLock()
        self._aliases = Aliases()
        self._proxies: dict[tuple[int, bool], Proxy] = {}
        self._raised: list[Exception] = []
        self._mine: dict[int, object] = {}
        self._number_of: dict[int, int] = {}
        self._class_numbers: dict[type, int] = {}
        self._stand_ins: dict[tuple[str, int], type[Exception]] = {}
        self._stands_for: dict[type, int] = {}

    def request(self, op: str, /, *args: object, **kwargs: object) -> Any:
        """Ask the other side. Raises what it raised, and `Gone`."""
        self.used = True
        try:
            with self._turn:
                encoder = Encoder(self, self._aliases.known)
                atoms = [encoder.encode(arg) for arg in args]
                named = {name: encoder.encode(value) for name, value in kwargs.items()}
                self._send({"op": op, "args": atoms, "kwargs": named, "rows": encoder.rows})
                result, raised = self._reply(encoder)
        except (Malformed, OSError) as error:
            self.gone = True
            raise Gone(f"{type(error).__name__}: {error}") from None
        if raised is not None:
            raise raised
        return result

    def serve(self) -> None:
        """Answer requests until the other side is done. Raises Malformed."""
        while (message := self._receive()) is not None:
            self._answer(message)

    def perform(self, op: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Do what a request asks for: where the two sides differ."""
        raise NotImplementedError

    def make(self, kind: type[Exception], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception:
        """An exception of a class of the other side's: as that class makes it, where the program handed it over to the tests."""
        if self.is_open or kind not in self._stands_for:
            return type.__call__(kind, *args, **kwargs)  # type: ignore[no-any-return]
        made, fields, text, number = self.request("construct", kind, *args, **kwargs)
        return _furnished(_instance_of(kind, list(made), str(text)), dict(fields), _text=str(text), _number=number, _trace="")

    def made(self, error: Exception) -> tuple[Any, ...]:
        """What the other side needs to know of an exception to make it as well."""
        return list(_args(error)), _fields(error), _text(error), self._number(error).get("mine")

    def trace(self, error: BaseException) -> str:
        """What to tell the other side of where an exception came from."""
        return ""

    # Objects

    def export(self, item: object) -> Row:
        if isinstance(item, Proxy):
            return ["yours", object.__getattribute__(item, "_number")]
        if isinstance(item, type) and item in self._stands_for:
            return ["yours", self._stands_for[item]]
        number = self._number_of.get(id(item))
        if number is None:
            number = self._number_of[id(item)] = len(self._mine)
            self._mine[number] = item
        if isinstance(item, type) and issubclass(item, Exception):
            return ["mine", number, "exception", *self._lineage(item)]
        return ["mine", number, "callable" if callable(item) else "object", type(item).__name__, special_methods_of(type(item))]

    def resolve(self, row: Row) -> object:
        kind, number = row[:2]
        if kind == "shared":
            return self._aliases.item(number)
        if kind == "yours" and number in self._mine:
            return self._mine[number]
        if kind != "mine" or type(number) is not int:
            raise Malformed(f"a row of unknown kind {str(kind)[:40]!r}")
        _, _, what, name, *more = row
        if what == "exception":
            kind = self._exception_class(name, *more)
            if kind in self._stand_ins.values():
                self._stands_for[kind] = number
            return kind
        key = number, what == "callable"
        if key not in self._proxies:
            self._proxies[key] = proxy_of(self, number, str(name), *more, is_callable=what == "callable")
        return self._proxies[key]

    # One exchange

    def _reply(self, sent: Encoder) -> tuple[Any, Exception | None]:
        """What a request gave: a result, or what was raised."""
        while True:
            message = self._receive()
            if message is None:
                raise Malformed("it left in the middle of a call")
            if "op" in message:
                self._answer(message)
                continue
            with untrusted():
                decoder = Decoder(message.get("rows"), self, sent.objects)
                raised = self._exception(message, decoder) if "raised" in message else None
                result = decoder.value(message.get("ok"))
                for number, row in message.get("changed", ()):
                    _check_change(sent, number, row)
                    decoder.fill(sent.objects[number], row)
                for number in message.get("kept", ()):
                    self._aliases.follow(sent.objects[number], sent.rows[number], handed=True)
                for number in message.get("shown", ()):
                    self._aliases.follow(decoder.objects[number], decoder.rows[number], handed=False)
                self._aliases.take(message.get("edits"), self)  # which may tell of those just followed
                return result, raised

    def _answer(self, message: dict[str, Any]) -> None:
        with untrusted():
            self._aliases.take(message.get("edits"), self)
            decoder = Decoder(message.get("rows"), self)
            op, args = message["op"], decoder.values(message.get("args"))
            kwargs = {name: decoder.value(atom) for name, atom in message.get("kwargs", {}).items()}
            rows = message["rows"]
            before = [(n, item, look(item)) for n, item in enumerate(decoder.objects) if rows[n][0] in MUTABLE_KINDS]
        holds = Holds(decoder.objects, rows)
        try:
            result = self.perform(op, args, kwargs)
            encoder = self._encoder_of_reply(decoder)
            reply = {"ok": encoder.encode(result), "changed": _changes(before, encoder)}
            del result  # what holds it from here on is no longer this
        except Exception as error:
            encoder = self._encoder_of_reply(decoder)
            reply = {"raised": self._lineage(type(error)), "text": _text(error), "trace": self.trace(error)}
            reply |= {"kind": self._stands_for.get(type(error)), **self._number(error)}
            try:
                reply |= {**_parts(error, encoder), "changed": _changes(before, encoder)}
            except TypeError:
                encoder = Encoder(self)
        self._follow_held(reply, decoder, encoder, holds)
        reply["rows"] = encoder.rows
        self._send(reply)

    def _follow_held(self, reply: dict[str, Any], asked: Decoder, encoder: Encoder, holds: Holds) -> None:
        """What is held beyond the call, of what was handed over and of what is shown."""
        if kept := holds.of_the_arguments(encoder):
            reply["kept"] = kept
            for number in kept:
                self._aliases.follow(asked.objects[number], asked.rows[number], handed=True)
        if shown := held_in(encoder):
            reply["shown"] = shown
            for number in shown:
                self._aliases.follow(encoder.objects[number], encoder.rows[number] or [], handed=False)

    def _encoder_of_reply(self, asked: Decoder) -> Encoder:
        known = {id(item): ["known", n] for n, item in enumerate(asked.objects)}
        return Encoder(self, known | self._aliases.known if self._aliases.known else known)

    def _number(self, error: Exception) -> dict[str, int]:
        """What tells the other side which exception it is, should it come back."""
        if (number := error.__dict__.get("_number")) is not None:
            return {"yours": number}
        self._raised.append(error.with_traceback(None))  # which would keep alive whatever the frames on its way held
        return {"mine": len(self._raised) - 1}

    def _exception(self, message: dict[str, Any], decoder: Decoder) -> Exception:
        trace, number = str(message.get("trace", "")), message.get("yours")
        if type(number) is int and 0 <= number < len(self._raised):
            error = self._raised[number]
            error.__dict__["_trace"] = trace
            return error
        args, text = decoder.values(message.get("args", [])), str(message["text"])
        error = self._of_own_class(message.get("kind"), args) or _instance_of(
            self._exception_class(*message["raised"]), args, text
        )
        cause = decoder.value(message.get("cause"))
        error.__cause__ = cause if isinstance(cause, Exception) else None
        fields = {name: decoder.value(atom) for name, atom in message.get("fields", {}).items()}
        return _furnished(error, fields, _text=text, _number=message.get("mine"), _trace=trace)

    def _of_own_class(self, number: Any, args: list[Any]) -> Exception | None:
        """An exception of a class that was handed out, made as that class makes them."""
        kind = self._mine.get(number)
        if isinstance(kind, type) and issubclass(kind, Exception):
            with contextlib.suppress(Exception):
                return kind(*args)
        return None

    def _lineage(self, kind: type) -> list[Any]:
        module = str(getattr(kind, "__module__", ""))
        bases = () if module == "builtins" else kind.__bases__
        number = self._class_numbers.setdefault(kind, len(self._class_numbers))
        return [kind.__name__, [self._lineage(base) for base in bases if issubclass(base, Exception)], module, number]

    def _exception_class(self, name: Any, bases: Any, module: Any, number: Any) -> type[Exception]:
        stand_in = self._stand_ins.get((name, number))
        for known in (BUILTIN_TYPES.get(name), self.classes.get(name), _library_class(module, name), stand_in):
            if known is not None and issubclass(known, Exception):
                return known
        parents = [self._exception_class(*base) for base in bases] or [Exception]
        made: Any = _StandIn(str(name), tuple(dict.fromkeys(parents)), {"__str__": _text_or_args, "_make": self.make})
        return self._stand_ins.setdefault((name, number), made)

    # The socket

    def _send(self, message: dict[str, Any]) -> None:
        if (edits := self._aliases.edits(self)) is not None:
            message["edits"] = edits
        data = _dumps(message)
        self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def _receive(self) -> dict[str, Any] | None:
        """The next message, or None when the other side is done. Raises Malformed."""
        head = self._read(_LENGTH.size)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head)
        body = self._read(length) if length <= _FRAME_BYTES else None
        if body is None:
            raise Malformed("a message that is cut off or too long")
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            raise Malformed("a message that is no JSON") from None
        if type(message) is not dict:
            raise Malformed("a message of another form")
        return message

    def _read(self, length: int) -> bytes | None:
        parts = []
        while length:
            part = self._socket.recv(min(length, 1 << 20))
            if not part:
                return None
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


_dumps_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _dumps(message: dict[str, Any]) -> bytes:
    """Not in ASCII: of two escaped surrogates, a reader makes the one character that they stand for."""
    return _dumps_text(message).encode("utf-8", "surrogatepass")


def _check_change(sent: Encoder, number: Any, row: Row) -> None:
    """Only data that was sent as such may come back changed, and as what it was. Raises Malformed."""
    was = sent.rows[number] if type(number) is int and 0 <= number < len(sent.rows) else None
    if was is None or was[0] not in MUTABLE_KINDS or was[0] != row[0] or (was[0] == "instance" and was[1] != row[1]):
        raise Malformed("a change of what cannot have changed")


def _library_class(module: Any, name: Any) -> Any:
    """An exception of a library that is imported here, None for all else, also for what a library only imports."""
    if type(module) is not str or module.partition(".")[0] not in _LIBRARIES or module not in sys.modules:
        return None
    item = vars(sys.modules[module]).get(name)
    return item if isinstance(item, type) and issubclass(item, Exception) and item.__module__ == module else None


def _parts(error: Exception, encoder: Encoder) -> dict[str, Any]:
    """What an exception holds. Raises TypeError where something in it cannot cross."""
    return {
        "args": [encoder.encode(arg) for arg in _args(error)],
        "fields": {name: encoder.encode(value) for name, value in _fields(error).items()},
        "cause": encoder.encode(error.__cause__),
    }


def _args(error: BaseException) -> tuple[Any, ...]:
    """What to make the exception of again: an OSError does not count its file among its arguments."""
    if isinstance(error, OSError) and error.filename is not None and len(error.args) == 2:
        return (*error.args, error.filename)
    return error.args


def _fields(error: BaseException) -> dict[str, Any]:
    return {name: value for name, value in error.__dict__.items() if not name.startswith("_") or name == "__notes__"}


def _furnished(error: Exception, fields: dict[str, Any], **own: Any) -> Exception:
    """An exception with what the one has that it stands for: attributes, text, the number by which it goes back, its trace."""
    for name, value in fields.items():
        set_free_field(error, name, value)
    error.__dict__.update(own)
    return error


def _text_or_args(error: Exception) -> str:
    return error.__dict__["_text"] if "_text" in error.__dict__ else Exception.__str__(error)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _instance_of(kind: type[Exception], args: list[Any], text: str) -> Exception:
    for given in (args, [text]):
        with contextlib.suppress(TypeError):  # a class whose arguments are fixed, such as UnicodeDecodeError
            return kind(*given) if kind.__module__ == "builtins" else kind.__new__(kind, *given)
    return Exception(text)


def _changes(before: list[tuple[int, Any, list[Any]]], encoder: Encoder) -> list[list[Any]]:
    """The rows, with their numbers, of what does not look as before. Raises TypeError where something in it cannot cross."""
    return [[n, encoder.encode_contents(item)] for n, item, seen in before if not is_same(seen, look(item))]
