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

_SCORE = re.compile(r"\bscore\b(?:\s+is)?\W*?(-?\d+(?:\.\d+)?)", re.IGNORECASE)
_ONLY_A_NUMBER = re.compile(r"\W*(-?\d+(?:\.\d+)?)\W*")
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
    """The last score that an answer names, as a share of the highest; None without one between 0 and that."""
    named = _SCORE.findall(answer)
    alone = _ONLY_A_NUMBER.fullmatch(answer)
    text = named[-1] if named else alone[1] if alone else ""
    if not text or not 0 <= float(text) <= highest:
        return None
    return float(text) / highest


def _text(reply: Any) -> str:
    try:
        return str(reply["choices"][0]["message"]["content"] or "")
    except (KeyError, IndexError, TypeError):
        return ""
