"""A judge behind a server: it reads the rubric, the task and the program, and ends with a number.

What it says is text, so a number may be missing: it is asked once more, with some chance in its answer, and after that there is
no score; nor is there one for what the server refuses to look at. A program may try to talk to its judge; it can only rise among
programs with the same verdict, since teacher scores never lift one above a better level (see trainer.ranking).
"""

import re
from typing import Any

from engine.client import Problem
from trainer.errors import Refused
from trainer.servers import Servers
from trainer.teachers.settings import Teacher

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_UNCLEAR = r"(,\d|\s*%|\s*(?:/|-|–|to|or|out\s+of)\s*\d)?"
"""Behind a number: a range, or another scale than ours."""
_BETWEEN = r"(?:[^\w.]|\b(?:is|was|would|be|of|for|as|at|it|this|that|the|an?|program|solution|code)\b)*?"
_NAMED = [re.compile(rf"\b{name}\b{_BETWEEN}{_NUMBER}{_UNCLEAR}", re.IGNORECASE) for name in ("score", "(?:rate|rating|grade)")]
"""The first that is found counts."""
_ONLY_A_NUMBER = re.compile(rf"\W*{_NUMBER}\W*")
_TEMPERATURES = (0.0, 0.7)
"""Of the first question and of the second."""


class Judge:
    """`model` is the name under which the servers serve it."""

    def __init__(self, servers: Servers, model: str, settings: Teacher) -> None:
        self.workers = servers.at_once
        self._servers, self._model, self._settings = servers, model, settings

    async def score(self, problem: Problem, completion: str) -> float | None:
        content = question(problem, completion, self._settings)
        for temperature in _TEMPERATURES:
            body = {"temperature": temperature, "max_tokens": self._settings.max_response_tokens}
            try:
                reply = await self._servers.post(
                    "chat/completions", {"model": self._model, "messages": [{"role": "user", "content": content}], **body}
                )
            except Refused:
                return None
            if (found := parse(_text(reply), self._settings.highest)) is not None:
                return found
        return None


def question(problem: Problem, completion: str, settings: Teacher) -> str:
    """What the judge is asked."""
    rubric = settings.rubric.format(lowest=0, highest=f"{settings.highest:g}")
    return f"{rubric}\n\nTask:\n\n{problem.prompt.strip()}\n\nProgram:\n\n```python\n{problem.preamble}{completion}\n```"


def parse(answer: str, highest: float) -> float | None:
    """The last score that an answer names, as a share of the highest; None without one between 0 and that, or an unclear one."""
    number, unclear = _named(answer, rf"{re.escape(f'{highest:g}')}(?:\.0+)?(?!\.?\d|%)") or ("", "")
    if not number or unclear or not 0 <= float(number) <= highest:
        return None
    return float(number) / highest


def _named(answer: str, top: str) -> tuple[str, str] | None:
    """The number, and what behind it makes it unclear. The scale is no score: `top` matches its end."""
    out_of_top, scale = rf"\s*(?:/|\bout\s+of)\s*{top}", rf"\b(?:(?:from|between)\s+)?[01]\s*(?:-|–|to|and)\s*{top}"
    told = re.sub(f"{out_of_top}|{scale}", " ", answer, flags=re.IGNORECASE)
    for pattern in _NAMED:
        if named := pattern.findall(told):
            return str(named[-1][0]), str(named[-1][1])
    if alone := _ONLY_A_NUMBER.fullmatch(told):
        return alone[1], ""
    shares = set(re.findall(_NUMBER + out_of_top, answer, re.IGNORECASE))
    return (shares.pop(), "") if len(shares) == 1 else None


def _text(reply: Any) -> str:
    try:
        return str(reply["choices"][0]["message"]["content"] or "")
    except (KeyError, IndexError, TypeError):
        return ""
