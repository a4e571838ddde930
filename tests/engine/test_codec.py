"""Data crosses as it is, and bytes that a hostile process wrote never do more than raise Malformed."""

import dataclasses
import datetime
import enum
import json
import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.jail.inside import decoding
from engine.jail.inside.decoding import Decoder, Malformed, PlainData
from engine.jail.inside.encoding import BUILTIN_TYPES, Encoder

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Node:
    """A class of a trusted prompt, as are the next ones."""

    value: object = 0
    next: object = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: object


class Slotted:
    __slots__ = ("left", "right")
    left: object
    right: object


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Strict:
    """Its methods are not made for whatever a program may send."""

    @property
    def size(self):
        return 1

    @size.setter
    def size(self, value):
        raise RuntimeError("set by data")

    def __hash__(self):
        raise RuntimeError("hashed")


class Items(list[object]):
    """A trusted class that is itself a built-in."""


class FakePeer:
    """Exports whatever it is asked to, by number."""

    def __init__(self, *classes):
        self.classes = {kind.__name__: kind for kind in classes}
        self.kept = set()
        self.is_open = False
        self.handed_out = []

    def export(self, item):
        self.handed_out.append(item)
        return ["exported", len(self.handed_out) - 1]

    def resolve(self, row):
        kind, number = row
        if kind != "exported" or type(number) is not int or not 0 <= number < len(self.handed_out):
            raise Malformed("unknown")
        return self.handed_out[number]


TRUSTED = (Node, Frozen, Slotted, Colour, Strict, Point, Items)


def crossed(value, peer=None):
    """The value after it has crossed as JSON text."""
    peer = peer or FakePeer(*TRUSTED)
    encoder = Encoder(peer)
    text = json.dumps([encoder.encode(value), encoder.rows])
    atom, rows = json.loads(text)
    return Decoder(rows, peer).value(atom)


def exactly(value):
    """What tells values apart that compare equal: types, the sign of zero, nan, the order of keys."""
    kind = type(value)
    match value:
        case list() | tuple() | deque():
            return (kind.__name__, getattr(value, "maxlen", None), [exactly(item) for item in value])
        case set() | frozenset():
            return (kind.__name__, sorted(repr(exactly(item)) for item in value))
        case dict():
            return (kind.__name__, [(exactly(key), exactly(item)) for key, item in value.items()])
        case Node():
            return (kind.__name__, exactly(value.value), exactly(value.next))
    return (kind.__name__, repr(value))


ZONES = st.none() | st.timedeltas(-datetime.timedelta(hours=23), datetime.timedelta(hours=23)).map(datetime.timezone)
HASHABLE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers().map(lambda n: n**9),
        st.floats(),
        st.complex_numbers(),
        st.text(),
        st.text(st.characters(categories=["Cs"]), max_size=1),  # two of them could be read as one character
        st.binary(),
        st.decimals(allow_nan=False),
        st.fractions(),
        st.datetimes(timezones=ZONES),
        st.dates(),
        st.times(),
        st.timedeltas(),
        st.sampled_from([..., NotImplemented, int, dict, ValueError, object, Colour.RED, range(3), range(2, 9, -4)]),
    ),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(Point, inner, inner),
    max_leaves=4,
)
DATA = st.recursive(
    HASHABLE | st.binary().map(bytearray) | st.builds(slice, st.integers(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(deque),
        st.lists(inner, max_size=4).map(lambda items: deque(items, 7)),
        st.sets(HASHABLE, max_size=3),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.dictionaries(HASHABLE, inner, max_size=3).map(OrderedDict),
        st.dictionaries(HASHABLE, st.integers(), max_size=3).map(Counter),
        st.dictionaries(HASHABLE, inner, max_size=3).map(lambda items: defaultdict(list, items)),
        st.builds(Node, inner, inner),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(DATA)
def test_data_arrives_exactly_as_it_left(value):
    assert exactly(crossed(value)) == exactly(value)


@settings(deadline=None)
@given(DATA)
def test_the_row_of_an_object_fills_another_one(value):
    """What changed in place is sent as contents; filling an object that stands elsewhere gives the same data."""
    peer = FakePeer(*TRUSTED)
    encoder = Encoder(peer)
    row = encoder.encode_contents([value])
    target = [object()]
    Decoder(json.loads(json.dumps(encoder.rows)), peer).fill(target, json.loads(json.dumps(row)))
    assert exactly(target) == exactly([value])


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, -0.0, 5e-324, 10**5000, -(10**5000), 1 << 256, "\ud800", "\0", True, 2**53 + 1.0],
    ids=lambda value: f"{type(value).__name__} {value!r}" if not isinstance(value, int) else f"{value.bit_length()} bits",
)
def test_scalars_that_json_is_bad_at(value):
    arrived = crossed([value])[0]
    assert type(arrived) is type(value)
    assert arrived == value or (arrived != arrived and value != value)
    assert math.copysign(1, arrived) == math.copysign(1, value) if type(value) is float else True


def test_one_list_in_two_places_stays_one():
    one = [1]
    first, second, apart = crossed([one, (one,), [1]])
    assert first is second[0]
    assert apart is not first


def test_equal_objects_stay_apart():
    first, second = crossed([[], []])
    assert first is not second


def test_data_may_hold_itself():
    around: list[object] = []
    around.append({"back": (around, deque([around]))})
    arrived: Any = crossed(around)
    assert arrived[0]["back"][0] is arrived
    assert arrived[0]["back"][1][0] is arrived


def test_nodes_may_go_in_circles():
    node = Node(1)
    node.next = Node(2, node)
    arrived = crossed(node)
    assert (arrived.value, arrived.next.value) == (1, 2)
    assert arrived.next.next is arrived


@pytest.mark.parametrize(
    "hold", [lambda inner: [inner], lambda inner: (inner,), lambda inner: {1: inner}, lambda inner: Node(inner)]
)
def test_depth_does_not_matter(hold):
    """Ten thousand levels, without recursion on either side."""
    value: object = 7
    for _ in range(10_000):
        value = hold(value)
    arrived = crossed(value)
    for _ in range(10_000):
        arrived = arrived.value if isinstance(arrived, Node) else arrived[1 if isinstance(arrived, dict) else 0]
    assert arrived == 7


def test_dicts_keep_their_order():
    assert list(crossed({"b": 1, 3: 2, "a": 3})) == ["b", 3, "a"]


def test_a_named_tuple_of_a_trusted_class_is_of_that_class():
    assert type(crossed(Point(1, 2))) is Point


def test_a_named_tuple_of_an_unknown_class_keeps_its_names():
    Other = namedtuple("Other", "left right")
    arrived = crossed([Other(1, [2])])[0]
    assert (type(arrived).__name__, arrived.left, arrived.right) == ("Other", 1, [2])


def test_named_tuples_of_one_kind_are_of_one_class():
    Other = namedtuple("Other", "left right")
    first, second = crossed([Other(1, 2), Other(3, 4)])
    assert type(first) is type(second)


def hostile(base):
    """A subclass of a built-in that lies with every operator it has."""

    def lie(*_):
        return True

    names = ("eq", "ne", "lt", "iter", "len", "getitem", "contains", "str", "repr", "int", "float", "index", "bytes", "bool")
    methods = {f"__{name}__": lie for name in names} | {"__hash__": lambda self: 0, "__class__": bool}
    methods |= dict.fromkeys(("items", "keys", "values", "copy", "tolist", "hex"), lie)
    return type("Liar", (base,), methods)


@pytest.mark.parametrize(
    "held",
    [5, 2.5, "text", b"bytes", bytearray(b"ab"), [1, 2], (1, 2), {1, 2}, frozenset([1]), {1: 2}, 1 << 300, OrderedDict([(1, 2)])],
    ids=lambda held: type(held).__name__,
)
def test_a_subclass_arrives_as_the_built_in_that_it_holds(held):
    """Read with the built-in type's own methods, whatever the subclass says."""
    arrived = crossed([hostile(type(held))(held)])[0]
    assert type(arrived) is type(held)
    assert arrived == held


def test_a_subclass_of_an_ordered_dict_keeps_its_order():
    class Ordered(OrderedDict[str, None]):
        pass

    value = Ordered.fromkeys("abc")
    value.move_to_end("a")
    assert list(crossed(value)) == ["b", "c", "a"]


def test_a_trusted_class_crosses_by_value():
    slotted = Slotted()
    slotted.left = [1]
    arrived = crossed([slotted, Frozen([2]), Colour.GREEN])
    assert (type(arrived[0]), arrived[0].left, hasattr(arrived[0], "right")) == (Slotted, [1], False)
    assert arrived[1:] == [Frozen([2]), Colour.GREEN]
    assert arrived[2] is Colour.GREEN


def test_trusted_instances_may_be_keys():
    assert crossed({Frozen(1): "a", (Frozen(2),): "b"}) == {Frozen(1): "a", (Frozen(2),): "b"}
    assert crossed({Frozen(3)}) == {Frozen(3)}


def test_a_trusted_class_that_is_a_built_in_arrives_as_that():
    """Its instances cannot be made empty, so only what they hold crosses."""
    assert crossed([Items([1, 2])]) == [[1, 2]]


def test_a_class_of_the_same_name_is_not_trusted():
    impostor = type("Node", (), {})()
    peer = FakePeer(Node)
    assert crossed(impostor, peer) is impostor
    assert peer.handed_out == [impostor]


@pytest.mark.parametrize("item", [len, lambda: 0, object(), Node, iter([1]), type("Mine", (), {})(), json], ids=repr)
def test_what_is_no_data_is_exported(item):
    peer = FakePeer(Colour)
    arrived = crossed([item, {"again": item}], peer)
    assert arrived[0] is item
    assert arrived[1]["again"] is item
    assert peer.handed_out == [item]


@pytest.mark.parametrize("error", [ValueError("a", 1), KeyError("k"), FileNotFoundError(2, "gone"), StopIteration(5)])
def test_built_in_exceptions_are_data(error):
    arrived = crossed([error])[0]
    assert (type(arrived), arrived.args) == (type(error), error.args)


def test_plain_data_exports_nothing():
    with pytest.raises(TypeError, match="no plain data"):
        Encoder(PlainData()).encode([object()])


# What a hostile process may write

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.floats()
    | st.sampled_from(["", "a", "x", "Node", "int", "1e999999999", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
KINDS = [*sorted(decoding._EMPTY.keys() | decoding._HOLDING.keys() | decoding._LEAVES.keys()), "exported", "", "nonsense"]
ATOM = st.integers(-2, 9).map(lambda n: [n]) | st.sampled_from([0, 1, -1, 2.5, "text", "f", None, True, math.nan]) | JUNK
NAMES = ["Node", "Frozen", "Slotted", "Colour", "Strict", "Point", "Items", "RED", "int", "ValueError", "object", "BaseException"]
NAMES += ["value", "next", "size", "__class__", "x", "y", "<i8", "O", "(2,", "V8", "AAAA", "0x1f", "2020-01-01", "12:00", "1_0"]
COLUMN = st.one_of(st.lists(ATOM, max_size=4), st.lists(st.sampled_from(NAMES), max_size=3), st.sampled_from(NAMES), ATOM, JUNK)
ROW = st.tuples(st.sampled_from(KINDS), st.lists(COLUMN, max_size=4)).map(lambda parts: [parts[0], *parts[1]])
TABLE = st.lists(ROW | JUNK, max_size=10) | st.lists(ROW, max_size=10) | JUNK


def shapes_of(kind, columns):
    return st.lists(st.tuples(*columns).map(lambda row: [kind, *row]), max_size=2)


ATOMS = st.lists(ATOM, max_size=3)
NEARLY_RIGHT = st.one_of(
    *[shapes_of(kind, [ATOMS]) for kind in ("list", "tuple", "set", "frozenset", "range", "slice", "Fraction")],
    *[shapes_of(kind, [ATOMS, ATOMS]) for kind in ("dict", "OrderedDict", "Counter")],
    shapes_of("deque", [ATOMS, ATOM]),
    shapes_of("defaultdict", [ATOMS, ATOMS, st.sampled_from(NAMES)]),
    shapes_of("instance", [st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3), ATOMS]),
    shapes_of("namedtuple", [st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3), ATOMS]),
    shapes_of("exception", [st.sampled_from(sorted(BUILTIN_TYPES)), ATOMS]),
    shapes_of(
        "numpy", [st.sampled_from(["<i8", "O", "(2,", "V8", "i4,i4", "", "U", "S0", "<M8[ns]"]), ATOM, st.sampled_from(NAMES)]
    ),
    shapes_of("timedelta", [ATOM, ATOM, ATOM]),
    shapes_of("complex", [ATOM, ATOM]),
)
TABLES = TABLE | st.lists(NEARLY_RIGHT, max_size=4).map(lambda groups: [row for group in groups for row in group])


@settings(deadline=None)
@given(TABLES, ATOM, st.booleans())
def test_whatever_is_decoded_is_data_or_malformed(rows, atom, plain):
    try:
        Decoder(rows, FakePeer(*TRUSTED), [[], {}], plain=plain).value(atom)
    except Malformed:
        pass


@settings(deadline=None)
@given(TABLES, ROW)
def test_whatever_fills_an_object_fills_it_or_is_malformed(rows, row):
    targets: list[object] = [[], {}, set(), deque(), bytearray(), Node(), (), 5]
    for target in targets:
        try:
            Decoder(rows, FakePeer(*TRUSTED)).fill(target, row)
        except Malformed:
            pass


WELL_FORMED = {
    "known": ["known", 0],
    "instance": ["instance", "Node", [], []],
    "member": ["member", "Colour", "RED"],
    "type": ["type", "int"],
    "exception": ["exception", "ValueError", []],
    "namedtuple": ["namedtuple", "P", ["x"], [1]],
    "numpy": ["numpy", "<i8", None, "AAAAAAAAAAA="],
    "ndarray": ["ndarray", "<i8", [1], "AAAAAAAAAAA="],
    "window": ["window", [[2]], "<i8", 0, [1], [8]],
    "path": ["path", "PurePosixPath", "a/b"],
    "UUID": ["UUID", "0x5"],
    "deque": ["deque", [], None],
    "OrderedDict": ["OrderedDict", [], []],
    "Counter": ["Counter", [], []],
    "defaultdict": ["defaultdict", [], [], None],
    "range": ["range", [1]],
    "slice": ["slice", [1]],
    "Fraction": ["Fraction", [1, 2]],
    "Decimal": ["Decimal", "1"],
    "datetime": ["datetime", "2020-01-01", 0, None],
    "date": ["date", "2020-01-01"],
    "time": ["time", "12:00", 1, 60_000_000],
    "timedelta": ["timedelta", 1, 2, 3],
    "view": ["view", [[1]], "keys"],
    "ellipsis": ["ellipsis"],
    "notimplemented": ["notimplemented"],
    "exported": ["exported", 0],
}


def test_the_kinds_below_are_all_that_are_not_plain():
    plain = {"list", "tuple", "set", "frozenset", "dict", "bytearray", "scalar", "int", "complex", "bytes"}
    kinds = decoding._EMPTY.keys() | decoding._HOLDING.keys() | decoding._LEAVES.keys()
    assert kinds - plain == WELL_FORMED.keys() - {"exported"}


@pytest.mark.parametrize("kind", WELL_FORMED)
def test_plain_data_has_no_other_kinds(kind):
    """They decode elsewhere; where only plain data may stand each is refused by its kind."""
    peer = FakePeer(*TRUSTED)
    peer.export(len)
    if kind not in ("numpy", "ndarray", "window"):
        Decoder([WELL_FORMED[kind], ["dict", [], []]], peer, [[]])
    elif numpy is not None:
        Decoder([WELL_FORMED[kind], ["dict", [], []], WELL_FORMED["ndarray"]], peer, [[]])
    with pytest.raises(Malformed, match="only plain data"):
        Decoder([WELL_FORMED[kind]], peer, [[]], plain=True)


@pytest.mark.parametrize("view", [{"a": [1], 2: ()}.keys(), {"a": [1], 2: ()}.values(), {"a": [1], 2: ()}.items()])
def test_a_view_of_a_dict_crosses_as_one(view):
    """With what can be done to it alone, such as comparing it with a set."""
    arrived = crossed(view)
    assert type(arrived) is type(view)
    assert list(arrived) == list(view)


@pytest.mark.parametrize("held", [["list", []], ["view", [[0]], "keys"]], ids=lambda row: row[0])
def test_a_view_of_anything_else_is_refused(held):
    with pytest.raises(Malformed):
        Decoder([["view", [[1]], "keys"], held], FakePeer())


def chain(kind, length):
    """A set that holds row 2, which holds row 3, and so on."""
    return [["set", [[1]]], *([kind, [[n]]] for n in range(2, length + 2)), [kind, []]]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("kind", ["tuple", "frozenset"])
def test_keys_are_not_so_deep_that_hashing_them_ends_the_process(kind, plain):
    with pytest.raises(Malformed, match=r"deep|parts"):
        Decoder(chain(kind, 20_000), PlainData(), plain=plain)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("holder", [["set", [[1]]], ["dict", [[1]], [0]], ["frozenset", [[1]]]], ids=lambda row: row[0])
def test_a_key_that_holds_itself_twice_sixty_times_over_is_refused(holder, plain):
    """Sixty rows, a hash of 2 ** 60 values."""
    rows = [holder, *(["tuple", [[n], [n]]] for n in range(2, 62)), ["tuple", []]]
    with pytest.raises(Malformed, match="parts"):
        Decoder(rows, PlainData(), plain=plain)


def test_a_tuple_that_holds_itself_twice_sixty_times_over_is_data_where_nothing_hashes_it():
    rows = [["list", [[1]]], *(["tuple", [[n], [n]]] for n in range(2, 62)), ["tuple", []]]
    assert len(Decoder(rows, PlainData(), plain=True).value([0])) == 1


def test_keys_that_could_be_made_to_collide_are_few():
    with pytest.raises(Malformed, match="keys"):
        Decoder([["set", [float(n) for n in range(5_000)]]], PlainData(), plain=True)
    many = Decoder([["dict", [str(n) for n in range(5_000)], list(range(5_000))]], PlainData(), plain=True)
    assert len(many.value([0])) == 5_000


def test_a_fraction_is_made_of_numbers_only():
    """As text it could be a power of ten that takes for ever to write out."""
    with pytest.raises(Malformed):
        Decoder([["Fraction", ["1e99999999"]]], PlainData())


def test_an_immutable_value_that_holds_itself_is_refused():
    with pytest.raises(Malformed, match="holds itself"):
        Decoder([["tuple", [[1]]], ["tuple", [[0]]]], PlainData())


def test_setting_a_field_calls_no_code():
    """A property of a trusted class is not set with what data says."""
    with pytest.raises(Malformed, match="no name of a field"):
        Decoder([["instance", "Strict", ["size"], [1]]], FakePeer(Strict))


@pytest.mark.parametrize("name", ["__class__", "__dict__", "__init__"])
def test_special_names_are_no_fields(name):
    with pytest.raises(Malformed, match="no name of a field"):
        Decoder([["instance", "Node", [name], [1]]], FakePeer(Node))


@pytest.mark.parametrize("name", ["BaseException", "SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_no_class_arrives_by_which_tests_would_end_themselves(name):
    """Where they raise what they take for a custom exception of the program's."""
    with pytest.raises(Malformed, match="end themselves"):
        Decoder([["type", name]], FakePeer())


@pytest.mark.parametrize("factory", [5, "list", [1]], ids=repr)
def test_only_what_can_be_called_makes_defaults(factory):
    with pytest.raises(Malformed, match="cannot be made"):
        Decoder([["defaultdict", [], [], factory], ["list", []]], FakePeer())


@pytest.mark.parametrize("name", ["BaseException", "SystemExit", "KeyboardInterrupt", "object", "int"])
def test_only_exceptions_are_exceptions(name):
    with pytest.raises(Malformed):
        Decoder([["exception", name, []]], PlainData())


try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]


@pytest.mark.skipif(numpy is None, reason="numpy is not installed")
@pytest.mark.parametrize(
    "kind", ["bool", "int8", "uint64", "float32", "float64", "complex128", "U3", "S3", "M8[ns]", "m8[D]", ">i4"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_arrays_arrive_with_their_type_and_shape(kind, shape):
    array = numpy.zeros(shape, kind)
    if array.size:
        array.flat[0] = 1
    arrived = crossed([array])[0]
    assert (type(arrived), arrived.dtype, arrived.shape) == (numpy.ndarray, array.dtype, array.shape)
    assert arrived.tobytes() == array.tobytes()
    arrived.flat[:] = array.flat[:]  # it can be written to


@pytest.mark.skipif(numpy is None, reason="numpy is not installed")
@pytest.mark.parametrize(
    "text", ["int8(5)", "float64(-0.0)", "float32(0.1)", "bool_(True)", "complex64(1+2j)", "str_('ab')", "bytes_(b'a')"]
)
def test_numpy_scalars_arrive_with_their_type(text):
    value = eval(f"numpy.{text}")
    arrived = crossed([value])[0]
    assert (type(arrived), repr(arrived)) == (type(value), repr(value))


@pytest.mark.skipif(numpy is None, reason="numpy is not installed")
def test_arrays_of_objects_are_exported():
    array = numpy.array([object()], dtype=object)
    peer = FakePeer()
    assert crossed([array], peer)[0] is array
    assert len(peer.handed_out) == 1


@pytest.mark.skipif(numpy is None, reason="numpy is not installed")
@pytest.mark.parametrize(
    "part",
    [
        ["<i8", 8, [1], [8]],
        ["<i8", -8, [1], [8]],
        ["<i8", 0, [2], [8]],
        ["<i8", 0, [2], [-8]],
        ["|O", 0, [1], [8]],
        ["<i8", 0, [-1], [8]],
    ],
)
def test_a_part_of_an_array_lies_within_it(part):
    """Where it does not, its memory would be that of others."""
    with pytest.raises(Malformed):
        Decoder([["window", [[1]], *part], WELL_FORMED["ndarray"]], FakePeer())
