"""The kinds of lines in problems files, each recognised by its fields and turned into a `Problem`.

    HumanEval         task_id, prompt, entry_point, test [, canonical_solution]
    LeetCodeDataset   the same with an expression as entry_point, `completion` for the solution, and the statement as `query`
    MBPP              task_id, text or prompt, test_list [, code, test_setup_code, test_imports]
    stdin/stdout      task_id or id, inputs and outputs, or tests: [{input, output}] [, prompt or question, solution or solutions]

Which part of a line the tests may trust is decided here: everything but the program under test. So is what a model is shown,
which is not always what the program begins with (see engine.problems.problem).
"""

import re
from typing import Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from engine.problems.names import names_from_program
from engine.problems.problem import Problem
from engine.records import AssertTests, CompareRule, StdioTest, StdioTests

_CHECK = re.compile(r"^[^#\n]*\bcheck\b", re.MULTILINE)
"""The name of the function, outside of comments: what it is bound to is found when the test runs."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)


class FunctionLine(_Line):
    """HumanEval and LeetCodeDataset: the prompt begins the program, the test defines check(candidate).

    LeetCodeDataset states the task elsewhere, in the query; a model is shown it below the prompt, where the solution follows.
    """

    task_id: str
    prompt: str
    query: str = ""
    entry_point: str
    test: str
    gold: str | None = Field(default=None, validation_alias=AliasChoices("canonical_solution", "completion"))

    @model_validator(mode="after")
    def _tests_something(self) -> Self:
        if not _CHECK.search(self.test):
            raise ValueError("the test defines no check(candidate), so it tests nothing")
        return self

    def problem(self) -> Problem:
        tests = AssertTests(code=self.test, entry_points=(self.entry_point,), prompt=self.prompt, check="check")
        return Problem(
            task_id=self.task_id,
            prompt=f"{self.prompt}\n{_docstring(self.query)}" if self.query.strip() else self.prompt,
            preamble=self.prompt,
            entry_point=self.entry_point,
            gold=self.gold,
            tests=tests,
        )


class MbppLine(_Line):
    """MBPP: a text, and statements that assert on whatever the solution defines.

    The text names no function. A model is shown the first of the asserts with it, which says name and arguments: both as a
    docstring, the way models are usually measured on MBPP.
    """

    task_id: str
    prompt: str = Field(validation_alias=AliasChoices("prompt", "text"))
    code: str | None = None
    test_list: list[str] = Field(min_length=1)
    test_setup_code: str = ""
    test_imports: list[str] = []

    def problem(self) -> Problem:
        names = names_from_program("\n".join([*self.test_imports, *self.test_list, self.test_setup_code]), self.code)
        set_up_by_program = names_from_program(self.test_setup_code, self.code, strict=False).entry_points
        trusted = [*self.test_imports, *names.imports, *([] if set_up_by_program else [self.test_setup_code])]
        tested = [*([self.test_setup_code] if set_up_by_program else []), *self.test_list]
        tests = AssertTests(code="\n".join(tested), entry_points=names.entry_points, prompt="\n".join(trusted))
        return Problem(
            task_id=self.task_id,
            prompt=_docstring(f"{self.prompt.strip()}\n{self.test_list[0].strip()}"),
            entry_point=names.entry_points[0],
            gold=self.code,
            tests=tests,
        )


class _Run(_Line):
    input: str
    output: str


class StdioLine(_Line):
    """A whole program that reads stdin and writes stdout."""

    task_id: str = Field(validation_alias=AliasChoices("task_id", "id"))
    prompt: str = Field(default="", validation_alias=AliasChoices("prompt", "question"))
    runs: list[_Run] = Field(min_length=1, validation_alias="tests")
    gold: str | None = Field(default=None, validation_alias="solution")
    compare: CompareRule = CompareRule.LINES

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, line: dict[str, Any]) -> dict[str, Any]:
        """Parallel lists become pairs, the first of several solutions the solution."""
        line = dict(line)
        if "inputs" in line:
            inputs, outputs = line["inputs"], line.get("outputs")
            if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
                raise ValueError("inputs and outputs must be lists of the same length")
            line["tests"] = [{"input": given, "output": wanted} for given, wanted in zip(inputs, outputs, strict=True)]
        if isinstance(line.get("solutions"), list) and line["solutions"]:
            line.setdefault("solution", line["solutions"][0])
        return line

    def problem(self) -> Problem:
        tests = (StdioTest(stdin=run.input.encode(), expected_stdout=run.output.encode()) for run in self.runs)
        return Problem(
            task_id=self.task_id,
            prompt=self.prompt,
            gold=self.gold,
            tests=StdioTests(tests=tuple(tests), compare=self.compare),
        )


def _docstring(text: str) -> str:
    return f'"""\n{text.strip()}\n"""\n'


def kind_of_line(fields: set[str]) -> type[FunctionLine] | type[MbppLine] | type[StdioLine] | None:
    """Which kind a line with these fields is; None where it is none."""
    if "test_list" in fields:
        return MbppLine
    if "test" in fields and "entry_point" in fields:
        return FunctionLine
    if fields & {"inputs", "outputs", "tests"}:
        return StdioLine
    return None
