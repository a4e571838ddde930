"""The three lists as they are written down: entries, their tests, the problem that forgeries pretend to solve.

A list is a folder of TOML files, one per family of threats; tests/hostile/README.md says how to write an entry. Whatever does not
fit is an error that names the file and the entry, since an entry that is skipped would count as held.
"""

import ast
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from engine.errors import BadConfig
from engine.nearest import nearest
from engine.records import AssertTests, CompareRule, FunctionTest, FunctionTests, Limits, StdioTest, StdioTests, Tests, Verdict

NAMES = ("forgery", "abuse", "false-alarms")
REFUSED = "refused"
"""What is expected of a job that the engine does not take at all."""
_SHIPPED = Path(__file__).parent / "lists"
_IN_THE_REPOSITORY = Path(__file__).parents[2] / "tests" / "hostile"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AssertData(_Data):
    """Test code, in a process apart."""

    code: str
    entry_points: tuple[str, ...]
    prompt: str = ""
    check: str = ""

    def tests(self) -> Tests:
        return AssertTests(**self.model_dump())


class CallData(_Data):
    """One call; `args`, `kwargs` and `expected` are Python literals, in which nan and inf are names."""

    args: str = "()"
    kwargs: str = "{}"
    expected: str

    @pydantic.field_validator("args", "kwargs", "expected")
    @classmethod
    def _is_literal(cls, text: str) -> str:
        try:
            literal(text)
        except (ValueError, SyntaxError):
            raise ValueError(f"{text!r} is no literal") from None
        return text


class FunctionData(_Data):
    """Calls whose results are compared outside the jail."""

    entry_point: str
    calls: tuple[CallData, ...]
    float_tolerance: float = 0.0

    def tests(self) -> Tests:
        tests = [
            FunctionTest(args=literal(call.args), kwargs=literal(call.kwargs), expected=literal(call.expected))
            for call in self.calls
        ]
        return FunctionTests(entry_point=self.entry_point, tests=tuple(tests), float_tolerance=self.float_tolerance)


class RunData(_Data):
    """One run with its stdin; texts are latin-1, so that they may be any bytes."""

    stdin: str = ""
    stdout: str


class StdioData(_Data):
    """Runs whose stdout is compared."""

    runs: tuple[RunData, ...]
    compare: CompareRule = CompareRule.LINES

    def tests(self) -> Tests:
        tests = [StdioTest(stdin=run.stdin.encode("latin-1"), expected_stdout=run.stdout.encode("latin-1")) for run in self.runs]
        return StdioTests(tests=tuple(tests), compare=self.compare)


type TestData = AssertData | FunctionData | StdioData


class Kind(_Data):
    """The common problem as one kind of tests. What `adapter` adds makes a program that defines its function one of this kind."""

    tests: TestData | None = None
    adapter: str = ""


class Problem(_Data):
    """What programs without tests of their own are asked to solve. `honest` does."""

    honest: str
    kinds: Mapping[str, Kind]


class Repeated(_Data):
    """Text too long to write down."""

    text: str
    times: int


class Entry(_Data):
    """One program with what is expected of it."""

    threat: str
    """One sentence: what it would gain, or why it deserves to pass."""
    program: str
    repeated: Repeated | None = None
    """What follows the program."""
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    """How the program becomes bytes. With latin-1, "\\u00ff" in the file is the byte 0xff."""
    files: Mapping[str, str] = {}
    stdin: str = ""
    kinds: tuple[str, ...] | None = None
    """Kinds of the common problem to run it as; by default those of its list, or its own tests alone."""
    tests: TestData | None = None
    limits: Mapping[str, int] = {}
    expect: Annotated[tuple[Verdict | Literal["refused"], ...], Field(min_length=1)] | None = None
    """What it may come to; by default what its list says."""
    stdout: str | None = None
    """What it prints, where that says whether harm was done."""
    honest: str | None = None
    """A program that passes the tests of a forgery: they are what keeps the forgery from passing, and not some slip in them."""
    fools: tuple[str, ...] = ()
    """Naive harnesses that it passes, see tests/hostile/naive.py."""

    @pydantic.field_validator("limits")
    @classmethod
    def _limits_exist(cls, limits: Mapping[str, int]) -> Mapping[str, int]:
        for name in limits:
            if name not in Limits.__slots__:
                raise ValueError(f"there is no limit {name!r}{nearest(name, Limits.__slots__)}")
        return limits


def folder() -> Path:
    """Where the lists lie: in the package where it is installed, beside it in a checkout."""
    return _SHIPPED if _SHIPPED.exists() else _IN_THE_REPOSITORY


def read_list(name: str, root: Path | None = None) -> dict[str, Entry]:
    """The entries of a list by name, in order. Raises BadConfig, which names the file and the entry."""
    entries: dict[str, Entry] = {}
    for path in sorted(((root or folder()) / name).glob("*.toml")):
        for title, fields in _toml(path).items():
            if title in entries:
                raise BadConfig(f"{path}: there is another entry {title!r} in the list")
            entries[title] = _valid(Entry, fields, f"{path}: {title!r}")
    if not entries:
        raise BadConfig(f"there is no list {name!r} in {root or folder()}")
    return entries


def read_problem(root: Path | None = None) -> Problem:
    """The problem that entries without tests of their own are about. Raises BadConfig."""
    path = (root or folder()) / "problem.toml"
    return _valid(Problem, _toml(path), str(path))


def literal(text: str) -> Any:
    """The value of a Python literal in which nan and inf are names. Raises ValueError."""
    return ast.literal_eval(_Named().visit(ast.parse(text.strip(), mode="eval")))


class _Named(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(f"{path}: {error}") from None


def _valid[T: BaseModel](kind: type[T], fields: object, where: str) -> T:
    try:
        return kind.model_validate(fields)
    except pydantic.ValidationError as error:
        deepest = max(error.errors(), key=lambda item: len(item["loc"]))  # of the kinds of tests it might be, the likeliest
        raise BadConfig(f"{where}: {'.'.join(map(str, deepest['loc']))}: {deepest['msg']}") from None
