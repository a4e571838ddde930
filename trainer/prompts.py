"""What a model reads of a problem. Whatever the form, the response is what follows the problem's preamble in a program.

completion   the problem's prompt, as it is
docstring    the paper's: the docstring in triple quotes, a line break, the signature
chat         the model's own chat template around the prompt, and the beginning of an answer: a fence and the preamble
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.client import Problem
from trainer.errors import ModelError
from trainer.grafting import Function, function_name, left_open
from trainer.records import Request
from trainer.sampling.settings import PromptForm

type Prompt = Callable[[Problem], str]

_INSTRUCTION = "Solve this task in Python. Answer with one block of code that defines everything it uses, and no tests.\n\n"


def prompt_of(form: PromptForm, tokenizer: Any, key: str = "model.prompt") -> Prompt:
    """How problems are put to the model. Raises ModelError, which names the setting `key`, where it has no chat template.

    Other forms need no tokenizer.
    """
    if form == "completion":
        return lambda problem: problem.prompt
    if form == "docstring":
        return docstring_first
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(f'{key}: the tokenizer has no chat template; set it to "completion", or take a model for chats')
    return lambda problem: _chat(problem, tokenizer)


def requests_for(
    problems: Mapping[str, Problem], prompt: Prompt, temperatures: Sequence[float], stage: str, *, of_teacher: bool = False
) -> list[Request]:
    """What a model is asked in a stage: each problem once at each of the temperatures, one problem after the other."""
    found = []
    for task_id, problem in problems.items():
        asked, whole = prompt(problem), _wants_whole(problem)
        for number, temperature in enumerate(temperatures):
            id_ = f"{stage}/{task_id}/{number}"
            found.append(Request(id=id_, task_id=task_id, prompt=asked, temperature=temperature, whole=whole, teacher=of_teacher))
    return found


def _wants_whole(problem: Problem) -> bool:
    """Whether a response states what is asked for by itself, and does not go on with a function that the task begins."""
    return left_open(problem.preamble, function_name(problem.entry_point)) is None


def instruction(problem: Problem) -> str:
    """The task as one message of a chat."""
    task = problem.prompt.strip()
    return _INSTRUCTION + (f"```python\n{task}\n```" if problem.preamble else task)


def docstring_first(problem: Problem) -> str:
    """A function that the prompt leaves open, told as in the paper; other prompts are returned as they are."""
    function = left_open(problem.prompt, function_name(problem.entry_point)) if problem.prompt == problem.preamble else None
    if function is None or not _has_docstring(function):
        return problem.prompt
    lines = problem.prompt.splitlines(keepends=True)
    signature, docstring = function.lineno - 1, function.body[0].lineno - 1
    end = function.body[0].end_lineno or docstring + 1
    told = [line.removeprefix(" " * function.body[0].col_offset) for line in lines[docstring:end]]
    return "".join([*lines[:signature], *told, *lines[signature:docstring]])


def _chat(problem: Problem, tokenizer: Any) -> str:
    messages = [{"role": "user", "content": instruction(problem)}]
    asked = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return f"{asked}```python\n{problem.preamble}"


def _has_docstring(function: Function) -> bool:
    first = function.body[0]
    value = getattr(first, "value", None)
    return isinstance(getattr(value, "value", None), str)
