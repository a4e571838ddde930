"""Taking the program out of a response."""

import ast
from typing import Any

import pytest

from trainer.extraction import cut, extract

MARKS = ("\ndef ", "\nprint(", "\n```")


def test_a_response_without_a_mark_is_all_code() -> None:
    """And is not said to have ended."""
    assert cut("    return 1\n", MARKS) == ("    return 1\n", False)


def test_the_first_mark_ends_the_code() -> None:
    """Whatever the order of the marks in the recipe."""
    assert cut("    return 1\nprint(2)\ndef other():\n", MARKS) == ("    return 1\n", True)


def test_a_mark_inside_a_line_is_code() -> None:
    """Only the beginning of a line ends a function."""
    assert cut("    print(1)\n", MARKS) == ("    print(1)\n", False)


PREAMBLE = 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """Adds them."""\n'
BODY = "    return sum(xs)\n"


def code(response: str) -> str:
    return extract(response, PREAMBLE, "total", at_limit=False).code


def total(completion: str) -> object:
    """What the program gives, so that a test does not depend on how the completion is written."""
    names: dict[str, Any] = {}
    exec(PREAMBLE + completion, names)
    return names["total"]([1, 2, 3])


@pytest.mark.parametrize(
    "response",
    [BODY, "    return sum(xs)", "return 1", "", "\n\n    x = (\n", "    x = '```'\n    return 1\n", "import x\nprose\n"],
)
def test_what_follows_the_prompt_is_unchanged(response: str) -> None:
    """Byte for byte, whether it is code or not."""
    assert code(response) == response


@pytest.mark.parametrize(
    "response",
    [
        PREAMBLE + BODY,
        f"{PREAMBLE.strip()}\n{BODY}",
        f"```python\n{PREAMBLE}{BODY}```",
        f"Sure, here it is:\n\n```python\n{PREAMBLE}{BODY}```\n\nIt adds the numbers.\n",
        f"Sure, here it is:\n\n{PREAMBLE}{BODY}\nIt adds the numbers, doesn't it?\n",
        f"{BODY}```\nThis adds the numbers.\n",
        f"```\n{BODY}```\n",
        f"First:\n```bash\npip install numpy\n```\nthen:\n```python\n{PREAMBLE}{BODY}```\nas in:\n```python\ntotal([1])\n```\n",
        f"~~~py\n{PREAMBLE}{BODY}~~~\n",
    ],
)
def test_fences_prose_and_a_repeated_prompt_are_taken_off(response: str) -> None:
    """The body alone is left."""
    assert code(response).strip("\n") == BODY.strip("\n")


@pytest.mark.parametrize(
    "program",
    [
        "from math import fsum\n\n\ndef total(xs):\n    # exactly\n    return int(fsum(xs))\n",
        "def one(x):\n    return x\n\n\ndef total(xs):\n    return sum(map(one, xs))\n\n\nif __name__ == 'x':\n    total([])\n",
        "def total(xs):\n  return sum(xs)\n",
        "def total(xs): return sum(xs)\n",
        "def total(numbers):\n    return sum(numbers)\n",
        "def twice(f):\n    return f\n\n\n@twice\ndef total(xs):\n    return sum(xs)\n",
    ],
)
def test_a_program_in_words_of_its_own_still_computes_the_same(program: str) -> None:
    """Helpers, imports, other indents, other names of parameters, decorators."""
    assert total(code(f"```python\n{program}```\n")) == 6


def test_a_program_with_the_same_parameters_becomes_a_body() -> None:
    """Which is what is trained on: no empty body with a second definition below it."""
    program = 'import math\n\n\ndef total(xs):\n    """Adds."""\n    return math.fsum(xs)\n'
    assert code(f"```python\n{program}```") == "    return math.fsum(xs)\n\n\nimport math\n"


def test_a_method_becomes_a_body_too() -> None:
    """Other methods of its class stay in it."""
    preamble = "class Solution:\n    def add(self, a: int) -> int:\n"
    one, add = "    def one(self):\n        return 1\n", "    def add(self, a: int) -> int:\n        return a + self.one()\n"
    program = f"class Solution:\n{one}\n{add}"
    completion = extract(f"```python\n{program}```", preamble, "Solution().add", at_limit=False).code
    [solution] = ast.parse(preamble + completion).body
    assert isinstance(solution, ast.ClassDef)
    assert [node.name for node in solution.body if isinstance(node, ast.FunctionDef)] == ["add", "one"]


def test_without_a_preamble_the_code_is_the_whole_program() -> None:
    """As in problems with stdin and stdout: the longest block in Python."""
    plan = "```text\nread a line, then double the number in it and print it\n```"
    program = "n = int(input())\nprint(2 * n)\n"
    assert extract(f"Plan:\n{plan}\n```python\n{program}```\n", "", "", at_limit=False).code == program


def test_a_fence_that_never_closes_at_the_limit_is_truncated() -> None:
    """The end of the code is missing."""
    assert extract(f"```python\n{PREAMBLE}    x =", PREAMBLE, "total", at_limit=True).truncated


def test_a_fence_that_never_closes_is_whole_where_the_model_ended() -> None:
    """It forgot the fence, not the code."""
    found = extract(f"```python\n{PREAMBLE}{BODY}", PREAMBLE, "total", at_limit=False)
    assert (found.code, found.truncated) == (BODY, False)


def test_prose_that_is_cut_off_behind_the_code_is_not_truncated() -> None:
    """All of the code is there."""
    assert not extract(f"```python\n{PREAMBLE}{BODY}```\nThis func", PREAMBLE, "total", at_limit=True).truncated


def test_a_plain_response_at_the_limit_is_truncated() -> None:
    """Nothing says that it was complete."""
    assert extract(BODY, PREAMBLE, "total", at_limit=True).truncated


@pytest.mark.parametrize(
    "response", ["def total(", "```\ndef total(xs:\n```", "\0def total(xs): pass", "def total(xs):\n" + "(" * 5000]
)
def test_code_that_cannot_be_parsed_is_left_to_the_engine(response: str) -> None:
    """It fails there, as it should, and not here."""
    assert "def total" in code(response)
