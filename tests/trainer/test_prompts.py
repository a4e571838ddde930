"""Prompts: the plain one, the paper's, and a chat."""

import pytest

from engine.client import AssertTests, Problem
from tests.trainer import small
from trainer import language_model
from trainer.errors import ModelError
from trainer.prompts import docstring_first, prompt_of, requests_for

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


def problem(prompt: str, preamble: str | None = None) -> Problem:
    tests = AssertTests(code="def check(candidate): ...", entry_points=("add",), check="check")
    return Problem(
        task_id="t", prompt=prompt, preamble=prompt if preamble is None else preamble, entry_point="add", gold=None, tests=tests
    )


def test_the_paper_puts_the_docstring_before_the_signature() -> None:
    """Docstring in triple quotes, line break, signature; what stands above stays above."""
    told = docstring_first(problem('import math\n\n\ndef add(a, b):\n    """Adds.\n\n    >>> add(1, 2)\n    3\n    """\n'))
    assert told == 'import math\n\n\n"""Adds.\n\n>>> add(1, 2)\n3\n"""\ndef add(a, b):\n'


@pytest.mark.parametrize("prompt", ["Write a function that adds.\n", "def add(a, b):\n    # adds\n"])
def test_a_prompt_without_a_docstring_stays_as_it_is(prompt: str) -> None:
    """There is nothing to put first."""
    assert docstring_first(problem(prompt)) == prompt


def test_a_chat_ends_where_the_answer_begins() -> None:
    """The template around the task, then the fence and the preamble: what follows is a completion as with other prompts."""
    tokenizer = small.model().tokenizer
    tokenizer.chat_template = TEMPLATE
    told = prompt_of("chat", tokenizer)(problem("Add two numbers.", preamble="def add(a, b):\n"))
    assert told.startswith("<user>")
    assert "Add two numbers." in told
    assert told.endswith("<assistant>```python\ndef add(a, b):\n")


def test_the_first_token_of_a_chat_is_not_doubled() -> None:
    """A template writes it, and so does the tokenizer."""
    tokenizer = small.model().tokenizer
    tokenizer.bos_token = tokenizer.eos_token
    ids = tokenizer("hello")["input_ids"]
    first = tokenizer.bos_token_id
    assert language_model.prompt_ids(adding_its_first_token(tokenizer), f"{tokenizer.bos_token}hello") == [first, *ids]


def adding_its_first_token(tokenizer):
    """The same tokenizer, putting its first token before every text, as many do."""
    return type(
        "Adding",
        (),
        {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "eos_token": tokenizer.eos_token,
            "__call__": lambda _, text: {"input_ids": [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]},
        },
    )()


def test_a_tokenizer_without_a_template_is_refused() -> None:
    """In one line that names the setting."""
    with pytest.raises(ModelError, match=r"model\.prompt: the tokenizer has no chat template"):
        prompt_of("chat", small.model().tokenizer)


def test_each_problem_is_asked_at_each_temperature() -> None:
    """One after the other; only what leaves a function open wants less than a whole program."""
    problems = {"a": problem("def add(a, b):\n"), "b": problem("Write add.", preamble="")}
    asked = requests_for(problems, prompt_of("completion", None), [0.0, 1.0], "round-1")
    assert [(request.id, request.temperature, request.whole) for request in asked] == [
        ("round-1/a/0", 0.0, False),
        ("round-1/a/1", 1.0, False),
        ("round-1/b/0", 0.0, True),
        ("round-1/b/1", 1.0, True),
    ]
