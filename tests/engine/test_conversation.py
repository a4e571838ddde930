"""Two ends over a real socket: what the tests do to the program's objects, what the program may do, and what breaks it off."""

import contextlib
import functools
import inspect
import json
import socket
import string
import struct
import textwrap
import threading
import types
import unittest.mock
from collections import Counter, OrderedDict, defaultdict, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.jail.inside.candidate import CandidateSide
from engine.jail.inside.conversation import Conversation, Gone
from engine.jail.inside.decoding import Malformed
from engine.jail.inside.examiner import TESTS_FILE, ExaminerSide
from engine.jail.inside.operations import BETWEEN
from engine.jail.inside.proxies import Proxy


def as_tests(expression, **names):
    """What it gives in test code."""
    libraries = {"functools": functools, "string": string, "textwrap": textwrap}
    return eval(compile(expression, TESTS_FILE, "eval"), libraries | names)


def module_of(name, source):
    module = types.ModuleType(name)
    exec(source, module.__dict__)
    return module


TRUSTED = module_of(
    "tests", "class Node:\n    def __init__(self, value, next=None):\n        self.value, self.next = value, next\n"
)
PROGRAM = """
class Node:
    def __init__(self, value, next=None):
        self.value, self.next = value, next

def apply(f, *args, **kwargs): return f(*args, **kwargs)
def identity(x): return x
def doing(code, **names):
    exec(code, names)
    return names.get("result")
class Box:
    def __init__(self, held=None): self.held = held
    def __eq__(self, other): asked.append(other); return True
    def __hash__(self): return 1
    def __lt__(self, other): return self.held < other.held
    def __add__(self, other): return Box(self.held + other.held)
    def __len__(self): return 3
    def __getitem__(self, key): return (self.held, key)
    def __contains__(self, item): asked.append(item); return True
    def __enter__(self): return self.held
    def __exit__(self, *_): return False
class Stack(list):
    def push(self, item): self.append(item); return self
    def top(self): return self[-1]
class Broken(ValueError): pass
class Picky(Exception):
    def __init__(self, a, b): super().__init__(f"{a} and {b}")
class Silent(Exception):
    def __str__(self): raise ZeroDivisionError
asked, kept = [], []
def keep(x): kept.append(x)
"""


class Pair:
    """An examiner, and a candidate that serves it in a thread."""

    def __init__(self, program=PROGRAM):
        ours, theirs = socket.socketpair()
        self.module = module_of("solution", program)
        self.examiner = ExaminerSide(ours)
        self.candidate = CandidateSide(theirs, self.module)
        self._sockets = (ours, theirs)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(Malformed, OSError, Gone):
            self.candidate.serve()

    def __getattr__(self, name):
        return self.examiner.request("evaluate", name)

    def trust(self, *classes):
        self.examiner.classes = {kind.__name__: kind for kind in classes}
        self.examiner.request("classes", *self.examiner.classes)

    def close(self):
        ours, theirs = self._sockets
        ours.close()
        self._thread.join()
        theirs.close()


@pytest.fixture
def pair():
    opened = Pair()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ([3, 1], "x.sort(); x.append([x])", None),
        ([[1], [2]], "x[0], x[1] = x[1], x[0]", [[2], [1]]),
        ([1, 2], "x[:] = (y for y in x if y > 1)", [2]),
        ({"a": 1}, "x['b'] = x.pop('a')", {"b": 1}),
        ({1, 2}, "x.discard(1); x.add(3)", {2, 3}),
        (bytearray(b"ab"), "x[:] = b'c'", bytearray(b"c")),
        (deque([1, 2], 5), "x.rotate()", deque([2, 1])),
        (Counter("aab"), "x.update('b')", Counter("aabb")),
        (OrderedDict(a=1, b=2), "x.move_to_end('a')", OrderedDict(b=2, a=1)),
        (defaultdict(list), "x[1].append(2)", {1: [2]}),
        (defaultdict(lambda: 4), "x[1]; x[2] = 3", {1: 4, 2: 3}),
        (([],), "x[0].append(1)", ([1],)),
        ({"deep": [{"deeper": []}]}, "x['deep'][0]['deeper'].append(1)", {"deep": [{"deeper": [1]}]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_program_changes_in_place_is_changed(pair, before, change, after):
    kind = type(before)
    pair.doing(change, x=before)
    assert type(before) is kind
    if after is None:
        assert before[:2] == [1, 3]
        assert before[2][0] is before
    else:
        assert before == after


def test_a_list_that_is_sorted_into_the_same_values_is_the_same_list(pair):
    first, second = [1], [1]
    items = [first, second]
    pair.doing("x.reverse()", x=items)
    assert items[0] is second
    assert items[1] is first


def test_instances_of_trusted_classes_come_back_changed_and_as_themselves(pair):
    pair.trust(TRUSTED.Node)
    tail = TRUSTED.Node(2)
    head = TRUSTED.Node(1, tail)
    result = pair.doing("x.next.next = x; x.value = 'new'; result = x.next", x=head)
    assert result is tail
    assert (head.value, tail.next) == ("new", head)


def test_a_trusted_class_with_an_iterator_is_not_used_up_by_looking_at_it(pair):
    """Data is compared before and after a call; a class that iterates over itself is not asked to."""
    source = (
        "class Countdown:\n    maxlen = 3\n    def __init__(self): self.left = 3\n    def __iter__(self): return self\n"
        "    def __next__(self):\n        if not self.left: raise StopIteration\n"
        "        self.left -= 1\n        return self.left\n"
    )
    exec(source, pair.module.__dict__)
    Countdown = module_of("tests", source).Countdown
    pair.trust(Countdown)
    assert pair.doing("result = list(x)", x=Countdown()) == [2, 1, 0]


def test_an_argument_that_is_returned_is_the_same_object(pair):
    items: list[object] = [[1]]
    assert pair.identity(items) is items
    assert pair.doing("result = x[0]", x=items) is items[0]


KEEPER = """
class Keeper:
    def __init__(self): self.kept, self.own = [], {"items": [[0]], "more": {}}
    def keep(self, item): self.kept.append(item)
    def change(self, number, value): self.kept[number % len(self.kept)].append(value)
    def link(self, one, other): self.kept[one % len(self.kept)].append(self.kept[other % len(self.kept)])
    def show(self, number): return self.kept[number % len(self.kept)]
    def seen(self): return repr((self.kept, self.own))
"""
_NUMBERS = st.integers(0, 5)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "append", "change", "link", "own", "nested", "replace", "pass", "again"]), _NUMBERS, _NUMBERS
    ),
    max_size=25,
)


def after(keeper, steps):
    """What is seen on both sides once the steps were taken, and which lists are one."""
    lists = [[1], [2, [3]]]
    for item in lists:
        keeper.keep(item)
    for what, one, other in steps:
        item = lists[one % len(lists)]
        match what:
            case "keep":
                lists.append([one, [other]])
                keeper.keep(lists[-1])
            case "append":
                item.append(other)
            case "change":
                keeper.change(one, other)
            case "link":
                keeper.link(one, other)
            case "own":
                keeper.own["items"].append([one])
            case "nested":
                keeper.own["items"][0].append(other)
            case "replace":
                keeper.own["more"][one] = [other]
            case "pass":
                keeper.keep(item)
            case "again":
                item[:0] = [keeper.show(other)]
    assert all(keeper.show(number) is lists[number] for number in range(2))
    return keeper.seen(), repr(lists)


@settings(deadline=None)
@given(STEPS)
def test_what_both_sides_hold_stays_the_same_on_both(steps):
    """A class across the conversation behaves as the same class beside the tests."""
    pair = Pair(KEEPER)
    try:
        assert after(pair.Keeper(), steps) == after(module_of("solution", KEEPER).Keeper(), steps)
    finally:
        pair.close()


def test_a_result_that_the_program_goes_on_changing_changes(pair):
    """As beside the tests: else a program that yields one list again and again seems to yield many."""
    got = pair.asked
    pair.module.asked.append([1])
    pair.identity(0)
    assert got == [[1]]
    pair.module.asked[0].append(2)
    pair.identity(0)
    assert got == [[1, 2]]


def test_what_a_function_of_the_tests_kept_changes_with_the_program(pair):
    kept: list[object] = []
    pair.doing("x = [1]; result = call(x); x.append(2)", call=kept.append)
    pair.identity(0)
    assert kept == [[1, 2]]


@pytest.mark.parametrize("kept", ["[[1]]", "([1],)", "{'a': ([1], 2)}", "[([1],)]", "[[[[1]]]]"])
@pytest.mark.parametrize("way", ["tests", "program"])
def test_what_lies_in_what_the_program_keeps_is_the_same_on_both_sides(pair, kept, way):
    """Such as the rows of a board, whoever changes them."""
    held = eval(kept)
    change = "while type(x) is not list or type(x[0]) is not int: x = x['a'] if type(x) is dict else x[0]\nx.append(2)"
    pair.keep(held)
    if way == "tests":
        exec(change, {"x": held})
    else:
        pair.doing(change, x=pair.doing("result = kept[-1]", kept=pair.module.kept))
    assert pair.doing("result = repr(kept[-1])", kept=pair.module.kept) == repr(held)
    assert "[1, 2]" in repr(held)


@pytest.mark.parametrize("read", ["keys", "values", "items"])
def test_a_view_of_what_the_program_keeps_shows_what_it_comes_to_hold(pair, read):
    shown, grow = pair.doing(f"d = {{}}\ndef grow(): d['a'] = 1\nresult = d.{read}, grow")
    view = shown()
    grow()
    assert len(view) == 1


def test_a_view_of_what_the_program_keeps_may_come_from_the_tests(pair):
    held = {"a": 1}
    pair.keep(held)
    pair.keep(held.keys())
    held["b"] = 2
    assert pair.doing("result = list(kept[-1])", kept=pair.module.kept) == ["a", "b"]


@pytest.mark.parametrize(("one", "other"), [("{1}", "{True}"), ("[frozenset({1})]", "[frozenset({True})]")])
def test_what_is_equal_is_not_the_same(pair, one, other):
    change = "x.add(True) if type(x) is set else x.append(frozenset({True}))"
    shown, turn = pair.doing(f"x = {one}\ndef show(): return x\ndef turn():\n    x.clear()\n    {change}\nresult = show, turn")
    seen = shown()
    turn()
    assert repr(seen) == other


def test_what_is_kept_in_a_tuple_and_shown_goes_on_changing(pair):
    shown, grow = pair.doing("t = (1, [])\ndef show(): return t\ndef grow(): t[1].append(2)\nresult = show, grow")
    seen = shown()
    grow()
    assert seen == (1, [2])


def test_what_has_grown_large_is_not_followed(pair):
    """Each message would tell all of it."""
    got = pair.asked
    pair.module.asked.extend(range(5_000))
    pair.identity(0)
    pair.module.asked.append(1)
    pair.identity(0)
    assert len(got) == 5_000


def test_what_nobody_holds_any_more_is_not_followed(pair):
    pair.identity([1, [2], {"a": []}])
    assert pair.doing("x[0].append(1); result = [y[1:]]", x=[[], 1], y=[1, [2]]) == [[[2]]]
    assert not pair.examiner._aliases._followed


def test_an_object_of_the_program_goes_back_as_itself(pair):
    box = pair.Box(5)
    assert pair.doing("result = box.held == 5 and type(box).__name__", box=box) == "Box"


def test_a_function_of_the_tests_goes_back_as_itself(pair):
    def function():
        return 1

    assert pair.identity(function) is function
    assert pair.identity([function])[0] is function


def test_calls_nest(pair):
    """The program calls the tests, which call the program, and so on."""

    def count(n):
        return 0 if n == 0 else 1 + pair.apply(count, n - 1)

    assert pair.apply(count, 20) == 20


def test_data_that_the_tests_change_in_a_callback_is_changed_there(pair):
    def fill(items):
        items.append(7)

    assert pair.doing("items = []; f(items); result = items", f=fill) == [7]


@pytest.mark.parametrize("name", ["self", "op", "s", "args", "kwargs", "proxy", "conversation", "name"])
def test_parameters_may_have_any_name(pair, name):
    assert pair.apply(dict, **{name: 1}) == {name: 1}
    assert pair.apply(lambda **named: named, **{name: [1]}) == {name: [1]}


@pytest.mark.parametrize(
    ("raising", "kind", "text"),
    [
        ("raise ValueError('no', 1)", ValueError, "('no', 1)"),
        ("raise KeyError('k')", KeyError, "'k'"),
        ("{}['k']", KeyError, "'k'"),
        ("1 / 0", ZeroDivisionError, "division by zero"),
        ("raise AssertionError", AssertionError, ""),
        ("open('/none/such')", FileNotFoundError, "[Errno 2] No such file or directory: '/none/such'"),
        ("raise TimeoutError('late')", TimeoutError, "late"),
        ("raise ConnectionResetError", OSError, ""),
        ("b'\\xff'.decode()", UnicodeDecodeError, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("exec('a b')", SyntaxError, "invalid syntax (<string>, line 1)"),
        ("next(iter([]))", StopIteration, ""),
        ("import no_such", ModuleNotFoundError, "No module named 'no_such'"),
        ("raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])", ExceptionGroup, "two (2 sub-exceptions)"),
        ("raise Broken('so')", ValueError, "so"),
        ("raise Picky(1, 2)", Exception, "1 and 2"),
        ("raise Silent('never said')", Exception, ""),
        ("def f(): return f()\nf()", RecursionError, "maximum recursion depth exceeded"),
        ("raise type('Many', (OSError, LookupError), {})('m')", OSError, "m"),
    ],
)
def test_exceptions_arrive_with_their_kind_and_text(pair, raising, kind, text):
    names = {name: pair.examiner.request("evaluate", name) for name in ("Broken", "Picky", "Silent")}
    with pytest.raises(kind) as raised:
        pair.doing(raising, **names)
    assert str(raised.value) == text
    assert not pair.examiner.gone


def test_an_exception_of_the_program_is_caught_by_its_own_name(pair):
    Broken = pair.Broken
    with pytest.raises(Broken):
        pair.doing("raise Broken", Broken=Broken)


def test_an_exception_that_the_tests_make_is_made_as_its_class_says(pair):
    Picky = pair.Picky
    with pytest.raises(TypeError, match="missing 1 required"):
        Picky(1)
    error = Picky(1, b=2)
    assert isinstance(error, Picky)
    assert (str(error), error.args) == ("1 and 2", ("1 and 2",))


def test_an_exception_that_the_tests_make_is_the_programs_own_where_it_comes_to(pair):
    Coded = pair.doing("class Coded(Exception):\n    def __init__(self, code): self.code = code\nresult = Coded")
    code = "try: fail()\nexcept kind as error: result = type(error) is kind and error.code"

    def fail():
        raise Coded(7)

    assert Coded(3).code == 3
    assert pair.doing(code, fail=fail, kind=Coded) == 7


def test_the_program_makes_exceptions_of_the_tests_by_raising_them(pair):
    class Wrong(Exception):
        def __init__(self, code):
            self.code = code

    with pytest.raises(Wrong) as raised:
        pair.doing("raise kind(5)", kind=Wrong)
    assert raised.value.code == 5


def test_exceptions_of_one_name_are_two(pair):
    """As `DoesNotExist` of several models are."""
    first, second = (pair.doing("class Missing(Exception): pass\nresult = Missing") for _ in range(2))
    assert first is not second
    for kind, other in ((first, second), (second, first)):
        with pytest.raises(kind) as raised:
            pair.doing("raise kind", kind=kind)
        assert not isinstance(raised.value, other)
    assert not pair.examiner.gone


def test_what_an_exception_holds_goes_on_changing(pair):
    """Where the program keeps it as well."""
    fail, grow = pair.doing("kept = [1]\ndef fail(): raise LookupError(kept)\ndef grow(): kept.append(2)\nresult = fail, grow")
    with pytest.raises(LookupError) as raised:
        fail()
    grow()
    assert raised.value.args == ([1, 2],)


def test_an_exception_of_the_tests_passes_through_the_program(pair):
    def fail():
        raise LookupError("from the tests")

    with pytest.raises(LookupError, match="from the tests"):
        pair.apply(fail)
    assert pair.doing("try: f()\nexcept LookupError as error: result = str(error)", f=fail) == "from the tests"


@pytest.mark.parametrize("data", [5, "text", [1], None, 2.5, (), {}, True], ids=repr)
def test_a_proxy_is_never_asked_about_data(pair, data):
    """What it is compared with stays unknown to the program, whose class would say that all is equal."""
    box = pair.Box(1)
    assert not box == data  # noqa: SIM201  # each operator by itself
    assert box != data
    assert data != box
    assert box not in [data]
    assert data not in (box,)
    with pytest.raises(TypeError):
        assert box < data
    with pytest.raises(TypeError):
        assert box + data
    assert pair.module.asked == []


@pytest.mark.parametrize("compare", [lambda a, b: a == b, lambda a, b: a < b, lambda a, b: (a + b).held == 3])
def test_two_proxies_let_the_program_decide_and_that_is_noted(pair, compare):
    assert compare(pair.Box(1), pair.Box(2))
    assert pair.examiner.delegated


@pytest.mark.parametrize(
    "use",
    [
        "box.held",
        "[box.held for _ in range(30)]",
        "getattr(box, 'held')",
        "hasattr(box, 'more')",
        "setattr(box, 'held', 2)",
        "delattr(box, 'held')",
        "type(box).__name__",
        "box is None",
        "box.held.bit_length()",
        "functools.wraps(box)(lambda: 1)",
    ],
)
def test_calls_and_attributes_put_no_object_in_the_place_of_data(pair, use):
    as_tests(use, box=pair.Box(1))
    pair.apply(lambda box: box, pair.Box(1))
    assert not pair.examiner.delegated


@pytest.mark.parametrize(
    "use",
    [
        lambda box: box != 1,
        lambda box: box in [1],
        lambda box: len(box),
        lambda box: box[1],
        lambda box: next(iter(box)),
        lambda box: bool(box),
        lambda box: str(box),
        lambda box: f"{box}",
        lambda box: box.__eq__(1),
        lambda box: box.__array__(),
        lambda box: {box},
        "box == box",
        "dict(mapping)",
        "{**mapping}",
        "getattr(mapping, 'held', {}).update(mapping)",
        "textwrap.fill(box)",
        "string.capwords(box)",
    ],
)
def test_an_object_in_the_place_of_data_is_noted(pair, use):
    """Also one that a library or a built-in function asks for a method that data has."""
    box = pair.Box(1)
    mapping = pair.doing("class Empty:\n    def keys(self): return []\nresult = Empty()")
    with contextlib.suppress(TypeError, AttributeError):
        as_tests(use, box=box, mapping=mapping) if isinstance(use, str) else use(box)
    assert pair.examiner.delegated


def test_a_claim_to_be_a_generator_is_noted(pair):
    generator = pair.doing("result = (n for n in ())")
    assert not pair.examiner.delegated
    assert isinstance(generator, types.GeneratorType)
    assert pair.examiner.delegated


LIAR = """
class Liar:
    call_count = 1
    def assert_called_once_with(self, *args): asked.append(args)
liar = Liar()
"""


def test_what_stands_in_for_a_part_of_a_mock_is_noted(pair):
    mock = unittest.mock.Mock()
    pair.doing("m.send(1)", m=mock)
    mock.send.assert_called_once_with(1)
    assert not pair.examiner.delegated
    pair.doing(LIAR + "m.send = liar", m=mock, asked=[])
    assert pair.examiner.delegated


@pytest.mark.parametrize("put", ["held['send'] = liar", "held['all'][0] = liar", "held['open'].send = liar"])
def test_nothing_of_the_programs_says_how_a_mock_was_called(pair, put):
    """It would say that all is well, and be told how it should have been called."""
    mocks, space = [unittest.mock.Mock()], types.SimpleNamespace()
    held = {"send": unittest.mock.Mock(), "all": mocks, "open": space}
    pair.doing(LIAR + put, held=held, asked=pair.module.asked)
    [liar] = [item for item in (held["send"], mocks[0], getattr(space, "send", None)) if isinstance(item, Proxy)]
    with pytest.raises(AttributeError):
        liar.assert_called_once_with(2)
    assert not pair.examiner.delegated
    assert liar.call_count == 1
    assert pair.examiner.delegated
    assert pair.module.asked == []


def test_an_object_is_asked_whether_it_equals_itself(pair):
    """A class that says no is wrong, and the tests want to know."""
    box = pair.doing("class Odd:\n    def __eq__(self, other): return False\n    __ne__ = __eq__\nresult = Odd()")
    assert not box == box  # noqa: SIM201  # that is the question
    assert not box != box  # noqa: SIM202  # as well


def test_a_proxy_does_what_its_object_does(pair):
    box = pair.Box("held")
    box.more = [1]
    assert (box.held, box.more, len(box), box[1:2]) == ("held", [1], 3, ("held", slice(1, 2)))
    with box as entered:
        assert entered == "held"
    del box.more
    with pytest.raises(AttributeError):
        box.more  # noqa: B018  # it is gone
    assert isinstance(box, pair.Box)
    assert not isinstance(5, pair.Box)


def test_objects_of_a_class_that_the_tests_use_keep_their_methods(pair):
    """A stack that is a list is no plain list where the tests make one and push to it."""
    stack = pair.Stack()
    assert stack.push(1).push(2).top() == 2
    assert len(stack) == 2
    assert list(stack) == [1, 2]
    assert pair.doing("result = type(x).__name__", x=stack) == "Stack"


def test_a_result_of_a_class_that_the_tests_never_use_is_what_it_holds(pair):
    assert pair.doing("result = type('Mine', (list,), {})([1])") == [1]


# What the program may ask of the examiner


def asking(pair, op, *args):
    """What the examiner answers when the program's process asks for something while it is being called."""
    found = []

    def on_the_other_side():
        try:
            found.append(("ok", pair.candidate.request(op, *args)))
        except Exception as error:  # noqa: BLE001  # whatever the examiner answers
            found.append((type(error).__name__, str(error)))

    pair.module.on_the_other_side = on_the_other_side
    pair.examiner.request("evaluate", "on_the_other_side()")
    return found[0]


EVERY_OPERATION = [
    "call",
    "getattr",
    "setattr",
    "delattr",
    "eq",
    "str",
    "repr",
    "iter",
    "len",
    "evaluate",
    "classes",
    "",
    *BETWEEN,
]


@pytest.mark.parametrize("op", EVERY_OPERATION)
@pytest.mark.parametrize("args", [(), (5, "real"), ("text", "upper"), ([1], 0), (dict, "fromkeys"), (None,)], ids=repr)
def test_the_program_asks_nothing_of_what_was_never_handed_out(pair, op, args):
    assert asking(pair, op, *args) == ("TypeError", "the target was never handed out")


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("getattr", ["__globals__"]),
        ("getattr", ["__code__"]),
        ("getattr", ["name"]),
        ("setattr", ["name", 1]),
        ("delattr", ["name"]),
        ("lt", [5]),
        ("evaluate", []),
        ("classes", []),
        ("getitem", [1, 2]),
        ("", []),
    ],
)
def test_of_a_function_the_program_may_only_ask_to_call_it(pair, op, args):
    def function():
        return 41

    function.name = 1  # type: ignore[attr-defined]  # something to be asked for
    pair.keep(function)
    [proxy] = pair.module.kept
    assert asking(pair, "call", proxy) == ("ok", 41)
    kind, text = asking(pair, op, proxy, *args)
    assert kind == ("AttributeError" if op == "getattr" else "TypeError")
    assert "not for the program" in text


def test_of_an_object_of_the_tests_the_program_sees_public_attributes_only(pair):
    Helper = module_of("tests", "class Helper:\n    _secret = 1\n    def __init__(self): self.open = 2").Helper
    code = "result = [h.open]\nfor name in ('_secret', '__class__', '__dict__', '__init__'):\n"
    code += "    try: result.append(type(h).__getattr__(h, name))\n    except AttributeError: result.append(None)"
    assert pair.doing(code, h=Helper()) == [2, None, None, None, None]


@pytest.mark.parametrize(
    "item", [json, threading, inspect.currentframe(), test_calls_nest.__code__], ids=lambda item: type(item).__name__
)
def test_modules_frames_and_code_are_not_handed_out(pair, item):
    with pytest.raises(TypeError, match="is not handed to the program"):
        pair.identity(item)


def test_an_iterator_of_the_tests_can_be_used(pair):
    assert pair.doing("result = [next(x), *x]", x=iter([1, 2, 3])) == [1, 2, 3]


# What a hostile process may send


class Hostile:
    """An examiner, and raw bytes in place of a candidate."""

    def __init__(self):
        self.socket, theirs = socket.socketpair()
        self.examiner = ExaminerSide(theirs)
        self.examiner.classes = {"Node": TRUSTED.Node}
        self._theirs = theirs

    def request_gives(self, data, *args, leave=True):
        """What becomes of a request whose answer is these bytes."""
        self.socket.sendall(data)
        if leave:
            self.socket.shutdown(socket.SHUT_WR)
        return self.examiner.request("evaluate", *args)

    def close(self):
        self.socket.close()
        self._theirs.close()


@pytest.fixture
def hostile():
    opened = Hostile()
    yield opened
    opened.close()


def frame(message):
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack("!I", len(data)) + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"\0\0\0\5{}",
        b"\xff\xff\xff\xff{}",
        frame(b""),
        frame(b"\xff\xfe"),
        frame(b"{"),
        frame(b"[" * 100_000),
        frame(b"[]"),
        frame(b"1" * 5_000),
        frame({}),
        frame({"ok": 1}),
        frame({"ok": [0], "rows": []}),
        frame({"ok": [1], "rows": [["list", []]]}),
        frame({"ok": [0], "rows": [["mine", 0]]}),
        frame({"ok": [0], "rows": [["mine", 0, "exception", "E", ["SystemExit"]]]}),
        frame({"ok": [0], "rows": [["yours", 0]]}),
        frame({"ok": [0], "rows": [["known", 77]]}),
        frame({"ok": [0], "rows": [["instance", "Other", [], []]]}),
        frame({"ok": 1, "rows": [], "changed": 5}),
        frame({"ok": 1, "rows": [], "changed": [[0]]}),
        frame({"ok": 1, "rows": [], "changed": [[99, ["list", []]]]}),
        frame({"raised": 5, "rows": []}),
        frame({"raised": ["E"], "rows": []}),
        frame({"raised": ["E", []], "rows": []}),
        frame({"raised": ["SystemExit", ["BaseException"]], "rows": [], "text": ""}),
        frame({"raised": ["UnicodeEncodeError", []], "rows": [], "text": "", "args": ["a", "b", 1 << 70, 1, "c"]}),
        frame({"raised": [["E"], []], "rows": [], "text": ""}),
        frame({"op": "call", "args": 5, "kwargs": {}, "rows": []}),
        frame({"op": "call", "args": [], "kwargs": 5, "rows": []}),
        frame({"op": "call", "args": [], "kwargs": {"a": [7]}, "rows": []}),
        frame({"op": "call", "args": [], "kwargs": {}}),
        frame({"op": "call", "rows": []}),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_an_answer_that_is_none_ends_the_conversation(hostile, data):
    with pytest.raises(Gone):
        hostile.request_gives(data)
    assert hostile.examiner.gone


def test_a_length_that_is_never_sent_is_not_waited_for_in_memory(hostile):
    """A frame may announce four gigabytes; nothing is allocated for it, and too much is refused at once."""
    with pytest.raises(Gone):
        hostile.request_gives(struct.pack("!I", (1 << 28) + 1), leave=False)


@pytest.mark.parametrize("op", ["call", 5, None, [], {}, "evaluate"])
def test_requests_for_nonsense_are_answered_and_the_conversation_goes_on(hostile, op):
    data = frame({"op": op, "args": [], "kwargs": {}, "rows": []}) + frame({"ok": 7, "rows": []})
    assert hostile.request_gives(data) == 7


def test_a_reply_before_the_request_is_taken_for_the_first_one(hostile):
    """The program's answer either way: it gains nothing by being early."""
    assert hostile.request_gives(frame({"ok": 1, "rows": []}) + frame({"ok": 2, "rows": []})) == 1


class Helper:
    expected = 1

    def clear(self):
        self.expected = 0

    update = extend = clear


@pytest.mark.parametrize(
    "row",
    [
        ["instance", "Helper", ["expected"], [2]],
        ["list", [1]],
        ["set", [1]],
        ["deque", [1]],
        ["dict", [], []],
        ["Counter", [], []],
        ["bytearray", ""],
        ["tuple", [1]],
    ],
    ids=lambda row: row[0],
)
@pytest.mark.parametrize("number", [0, -1, 1, True])
def test_only_data_that_was_sent_can_come_back_changed(hostile, row, number):
    """An object of the tests that was handed out is no data, whatever the program says has changed."""
    helper = Helper()
    with pytest.raises(Gone):
        hostile.request_gives(frame({"ok": 1, "rows": [], "changed": [[number, row]]}), helper)
    assert helper.__dict__ == {}


def test_data_comes_back_as_what_it_was(hostile):
    items = [1]
    with pytest.raises(Gone):
        hostile.request_gives(frame({"ok": 1, "rows": [], "changed": [[0, ["dict", ["a"], [1]]]]}), items)


ATOM = st.none() | st.integers(-1, 3) | st.text(max_size=3) | st.integers(-1, 4).map(lambda n: [n]) | st.floats()
JUNK = st.recursive(ATOM, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3))
KINDS = [
    "list",
    "tuple",
    "dict",
    "set",
    "instance",
    "mine",
    "yours",
    "known",
    "exception",
    "deque",
    "type",
    "numpy",
    "namedtuple",
    "shared",
    "ndarray",
    "path",
]
NAMES = [
    "Node",
    "value",
    "ValueError",
    "UnicodeDecodeError",
    "ExceptionGroup",
    "SystemExit",
    "exception",
    "callable",
    "object",
    "OSError",
]
ROW = st.tuples(
    st.sampled_from(KINDS), st.lists(st.lists(ATOM, max_size=3) | st.sampled_from(NAMES) | st.integers(-1, 3) | JUNK, max_size=4)
).map(lambda parts: [parts[0], *parts[1]])
ROWS = st.lists(ROW, max_size=4)
MODULES = st.sampled_from(["builtins", "json.decoder", "unittest.case", "solution", ""]) | JUNK
LINEAGE = st.recursive(
    st.tuples(st.sampled_from(NAMES), st.just([]), MODULES, st.integers(-1, 3) | JUNK),
    lambda bases: st.tuples(st.sampled_from(NAMES), st.lists(bases.map(list), max_size=3), MODULES, st.integers(-1, 3) | JUNK),
    max_leaves=4,
).map(list)
NUMBERS = st.lists(st.integers(-1, 3), max_size=3) | JUNK
CHANGES = st.lists(st.tuples(st.integers(-1, 2), ROW), max_size=3)
HELD = {
    "kept": NUMBERS,
    "shown": NUMBERS,
    "edits": st.fixed_dictionaries({"contents": CHANGES | JUNK, "rows": ROWS | JUNK}) | JUNK,
}
MESSAGE = st.one_of(
    st.fixed_dictionaries({"ok": ATOM, "rows": ROWS}, optional={"changed": CHANGES | JUNK, **HELD}),
    st.fixed_dictionaries(
        {"raised": LINEAGE | JUNK, "rows": ROWS, "text": JUNK},
        optional={
            "args": st.lists(ATOM, max_size=5) | JUNK,
            "trace": JUNK,
            "fields": st.dictionaries(st.sampled_from(["code", "args", "_trace", "__notes__", "__class__"]), ATOM) | JUNK,
            "cause": ATOM | JUNK,
            "kind": st.integers(-1, 3) | JUNK,
            "mine": JUNK,
            "yours": st.integers(-1, 3) | JUNK,
            **HELD,
        },
    ),
    st.fixed_dictionaries(
        {"op": st.sampled_from(["call", "getattr", "setattr", "iter", "eq", "hash", "deepcopy"]) | JUNK, "rows": ROWS},
        optional={
            "args": st.lists(ATOM, max_size=3) | JUNK,
            "kwargs": st.dictionaries(st.text(max_size=2), ATOM) | JUNK,
            "edits": HELD["edits"],
        },
    ),
    st.dictionaries(st.sampled_from(["ok", "op", "raised", "rows", "args", "kwargs", "changed", "text"]), JUNK),
)


@settings(deadline=None)
@given(st.lists(MESSAGE | st.binary(max_size=8), max_size=3))
def test_whatever_is_sent_is_an_answer_an_exception_of_the_program_or_gone(messages):
    """Nothing else comes out of a request, above all no error of the harness's own that test code might catch."""
    hostile = Hostile()
    try:
        hostile.request_gives(b"".join(map(frame, messages)), [1], TRUSTED.Node(1), len, "text")
    except Gone:
        assert hostile.examiner.gone
    except Exception as error:  # noqa: BLE001  # which ones is the question
        assert "_trace" in error.__dict__, error  # noqa: PT017
    finally:
        hostile.close()


@settings(deadline=None)
@given(st.lists(MESSAGE | st.binary(max_size=8), max_size=3))
def test_a_side_that_serves_ends_with_malformed_or_in_peace(messages):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"".join(map(frame, messages)))
        ours.shutdown(socket.SHUT_WR)
        try:
            Serving(theirs).serve()
        except Malformed:
            pass


class Serving(Conversation):
    def perform(self, op, args, kwargs):
        return args


def test_a_proxy_of_one_conversation_says_nothing_of_its_own(pair):
    """Every name belongs to the object: the proxy's own are out of the way."""
    exec("class Names:\n    _number = 'n'\n    _conversation = 'c'\n    _name = 'm'\n    request = 'r'", pair.module.__dict__)
    names = pair.Names()
    assert isinstance(names, Proxy)
    assert names.request == "r"
