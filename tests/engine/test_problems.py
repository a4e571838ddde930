"""Problems and samples are read from the files people have, and a bad line is named."""

import gzip
import json
import os
from pathlib import Path

import pytest

from engine.client import (
    AssertTests,
    CompareRule,
    Limits,
    ProblemError,
    StdioTest,
    StdioTests,
    StopRule,
    gold_samples,
    read_problems,
    read_samples,
)

DATA = Path(os.environ.get("RRTF_DATA", ""))

HUMANEVAL = {
    "task_id": "H/0",
    "prompt": "def add(a, b):\n",
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}
LEETCODE = {
    "task_id": "two-sum",
    "prompt": "import math\n",
    "entry_point": "Solution().twoSum",
    "completion": "class Solution: ...",
    "test": "def check(candidate): ...",
    "meta": {"difficulty": "Easy"},
    "query": "Find two numbers.\nclass Solution: ...",
}
MBPP = {
    "task_id": 11,
    "text": "Add two numbers.",
    "code": "import math\ndef helper(): ...\ndef add(a, b):\n    return a + b\n",
    "test_list": ["assert add(1, 2) == 3", "assert math.isclose(add(1, 2), 3)"],
    "test_setup_code": "",
}
STDIO = {"id": "s", "question": "Add.", "inputs": ["1 2\n"], "outputs": ["3\n"], "solutions": ["print(3)", "print(4)"]}


@pytest.fixture
def write(tmp_path):
    def write(*lines, name="file.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return path

    return write


def only(path):
    (problem,) = read_problems(path).values()
    return problem


def test_humaneval(write):
    """The prompt begins the program and is trusted by the tests; check is called with the entry point."""
    problem = only(write(HUMANEVAL))
    assert problem.tests == AssertTests(code=HUMANEVAL["test"], entry_points=("add",), prompt=HUMANEVAL["prompt"], check="check")
    assert problem.gold_job().program == "def add(a, b):\n    return a + b\n"
    assert problem.prompt == problem.preamble == HUMANEVAL["prompt"]


def test_leetcode(write):
    """The entry point is an expression, the completion of the file the solution."""
    problem = only(write(LEETCODE))
    assert isinstance(problem.tests, AssertTests)
    assert problem.tests.entry_points == ("Solution().twoSum",)
    assert problem.gold_job().program == "import math\nclass Solution: ..."


def test_leetcode_shows_the_statement(write):
    """A model reads it below the beginning of the program; neither the program nor the tests contain it."""
    problem = only(write(LEETCODE))
    assert problem.prompt == 'import math\n\n"""\nFind two numbers.\nclass Solution: ...\n"""\n'
    assert problem.preamble == "import math\n"
    assert isinstance(problem.tests, AssertTests)
    assert problem.tests.prompt == "import math\n"
    assert only(write({name: value for name, value in LEETCODE.items() if name != "query"})).prompt == "import math\n"


def test_mbpp(write):
    """Entry points are what the tests use of the solution; its imports that they use are trusted."""
    problem = only(write(MBPP))
    assert problem.tests == AssertTests(code="\n".join(MBPP["test_list"]), entry_points=("add",), prompt="import math\n")  # type: ignore[arg-type]  # a list of texts
    assert problem.task_id == "11"
    assert problem.entry_point == "add"
    assert problem.gold_job().program == MBPP["code"]


def test_mbpp_shows_the_first_assert(write):
    """It names the function, which the text does not; none of it is part of the program."""
    problem = only(write(MBPP))
    assert problem.prompt == '"""\nAdd two numbers.\nassert add(1, 2) == 3\n"""\n'
    assert problem.preamble == ""


def test_mbpp_set_up_that_builds_objects_of_the_program_is_test_code(write):
    """Set-up that needs the program cannot be trusted code that runs without it."""
    line = MBPP | {
        "code": "class Node: ...\ndef height(node): ...\n",
        "test_setup_code": "root = Node()",
        "test_list": ["assert height(root) == 1"],
    }
    problem = only(write(line))
    assert isinstance(problem.tests, AssertTests)
    assert problem.tests.code == "root = Node()\nassert height(root) == 1"
    assert problem.tests.entry_points == ("height", "Node")
    assert problem.entry_point == "height"


def test_mbpp_set_up_that_stands_alone_is_trusted(write):
    """Classes that it defines cross by value."""
    problem = only(write(MBPP | {"test_setup_code": "class Pair: ...", "test_imports": ["import os"]}))
    assert isinstance(problem.tests, AssertTests)
    assert problem.tests.prompt == "import os\nimport math\nclass Pair: ..."


def test_mbpp_without_a_solution(write):
    """What the tests neither define nor find among the built-ins must come from the program."""
    line = {"task_id": 1, "prompt": "p", "test_list": ["assert [add(x, len('a')) for x in range(2)] == [1, 2]"]}
    problem = only(write(line))
    assert isinstance(problem.tests, AssertTests)
    assert problem.tests.entry_points == ("add",)
    with pytest.raises(ProblemError, match="no solution of its own"):
        problem.gold_job()


@pytest.mark.parametrize(
    "line",
    [
        STDIO,
        {"task_id": "s", "prompt": "Add.", "tests": [{"input": "1 2\n", "output": "3\n"}], "solution": "print(3)"},
    ],
)
def test_stdin_and_stdout(write, line):
    """Parallel lists or pairs; the first solution is the gold one."""
    problem = only(write(line))
    assert problem.tests == StdioTests(tests=(StdioTest(stdin=b"1 2\n", expected_stdout=b"3\n"),), compare=CompareRule.LINES)
    assert problem.gold_job().program == "print(3)"


def test_a_job_carries_what_was_asked_for(write):
    """Id, limits and stop rule are the caller's; the id is the task's by default."""
    problem = only(write(HUMANEVAL))
    job = problem.job("    return 3\n", id="x", limits=Limits(cpu_time_ms=5), stop=StopRule.RUN_ALL)
    assert (job.id, job.limits.cpu_time_ms, job.stop) == ("x", 5, StopRule.RUN_ALL)
    assert problem.job_for_program("x = 1").program == "x = 1"
    assert problem.job("").id == "H/0"


def test_files_may_be_gzipped_and_have_empty_lines(tmp_path):
    """Whatever their name."""
    path = tmp_path / "problems"
    path.write_bytes(gzip.compress(("\n" + json.dumps(HUMANEVAL) + "\n\n").encode()))
    assert only(path).task_id == "H/0"


def test_kinds_may_be_mixed(write):
    """Each line is recognised on its own, and the order is kept."""
    assert list(read_problems(write(HUMANEVAL, LEETCODE, MBPP, STDIO))) == ["H/0", "two-sum", "11", "s"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object but list"),
        ({}, r"line 2: fields \(none\) are no problem; use those of HumanEval"),
        ({"task_id": "x", "prompt": "p"}, "line 2: fields prompt, task_id are no problem"),
        (HUMANEVAL | {"prompt": None}, "line 2: the field prompt: input should be"),
        ({name: value for name, value in HUMANEVAL.items() if name != "prompt"}, "line 2: the field prompt is missing; add it"),
        (HUMANEVAL | {"task_id": "e", "test": " \n"}, r"line 2: the test defines no check\(candidate\), so it tests nothing"),
        (HUMANEVAL | {"task_id": "e", "test": "# check"}, r"line 2: the test defines no check\(candidate\)"),
        (MBPP | {"test_list": [""]}, "line 2: the tests use nothing that the solution defines"),
        (HUMANEVAL, "line 2: task_id 'H/0' stood in an earlier line"),
        (MBPP | {"test_list": []}, "line 2: the field test_list: list should have at least 1 item"),
        (MBPP | {"test_list": ["assert ("]}, "line 2: the tests cannot be parsed"),
        (MBPP | {"code": "def"}, "line 2: the solution cannot be parsed"),
        (MBPP | {"test_list": ["assert True"]}, "line 2: the tests use nothing that the solution defines"),
        (STDIO | {"outputs": []}, "line 2: inputs and outputs must be lists of the same length"),
        (STDIO | {"inputs": [], "outputs": []}, "line 2: the field tests: list should have at least 1 item"),
        ({"id": "s", "tests": [{"input": "1"}]}, "line 2: the field tests.0.output is missing; add it"),
    ],
)
def test_a_malformed_line_is_named(write, line, message):
    """File, line, cause and cure on one line."""
    with pytest.raises(ProblemError, match=message) as error:
        read_problems(write(HUMANEVAL, line))
    assert "\n" not in str(error.value)
    assert "; " in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\x1f\x8bnonsense", gzip.compress(b"{}" * 1000)[:-20]])
def test_a_file_that_is_none_of_these_is_refused(tmp_path, content):
    """Empty, not text, or gzip that is broken."""
    path = tmp_path / "problems"
    path.write_bytes(content)
    with pytest.raises(ProblemError, match="problems"):
        read_problems(path)


def test_a_file_that_is_not_there(tmp_path):
    """One line with its name."""
    with pytest.raises(ProblemError, match=r"cannot read .*absent.jsonl: no such file"):
        read_problems(tmp_path / "absent.jsonl")


def test_samples(write):
    """A completion follows the prompt, a solution stands alone; samples of a task are numbered."""
    problems = read_problems(write(HUMANEVAL, MBPP))
    lines = [
        {"task_id": "H/0", "completion": "    return 3\n"},
        {"task_id": 11, "solution": "def add(a, b): ..."},
        {"task_id": "H/0", "completion": "", "solution": None, "model": "m"},
    ]
    samples = read_samples(write(*lines, name="samples.jsonl"), problems)
    assert [sample.id for sample in samples] == ["H/0#0", "11#0", "H/0#1"]
    programs = [sample.job(problems[sample.task_id]).program for sample in samples]
    assert programs == ["def add(a, b):\n    return 3\n", "def add(a, b): ...", "def add(a, b):\n"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"task_id": "H/9", "completion": ""}, "line 1: unknown task_id 'H/9'; the problems have ids such as 'H/0'"),
        ({"completion": ""}, "line 1: unknown task_id ''"),
        ({"task_id": "H/0"}, "line 1: give either completion"),
        ({"task_id": "H/0", "completion": "", "solution": ""}, "line 1: give either completion"),
        ({"task_id": "H/0", "completion": 1}, "line 1: give either completion"),
        ("", "has no samples"),
    ],
)
def test_a_bad_sample_is_named(write, line, message):
    """File, line, cause and cure, before anything is graded."""
    problems = read_problems(write(HUMANEVAL))
    with pytest.raises(ProblemError, match=message):
        read_samples(write(line, name="samples.jsonl"), problems)


def test_gold_needs_solutions(write):
    """A problem without one is named."""
    problems = read_problems(write(HUMANEVAL, {"task_id": "s", "inputs": [""], "outputs": [""]}))
    with pytest.raises(ProblemError, match="1 problems have no solution of their own, 's' first"):
        gold_samples(problems)


@pytest.mark.parametrize(("name", "count"), [("HumanEval.jsonl.gz", 164), ("leetcode-400.jsonl.gz", 400)])
def test_the_real_files_are_read(name, count):
    """Every problem has a gold program that compiles."""
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not in {DATA}; set RRTF_DATA to the folder that has it")
    problems = read_problems(DATA / name)
    assert len(problems) == count
    for problem in problems.values():
        compile(problem.gold_job().program, problem.task_id, "exec", dont_inherit=True)
