"""Taking the program out of a response: only the code is executed and trained on.

    response --cut--> up to the first mark --program--> code without fences and prose --completion--> what follows the preamble

`cut` is the sampler's: it sees tokens come and ends a response early. The rest is done once for each candidate, when its problem
is at hand. A response that simply goes on where the prompt ended passes through all of it unchanged.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.grafting import definition_of, function_name, graft

_FENCE = re.compile(r"^[ \t]*(?:```+|~~~+)[ \t]*([\w+.#-]*)[ \t]*$")
_PYTHON = frozenset({"", "python", "python3", "py"})
_BEGINS_CODE = re.compile(r"(?:from [\w.]+ import |import \w|@\w|class \w+[:(]|(?:async )?def \w+\()")


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    code: str
    truncated: bool
    """Whether the end of the code is missing, as far as one can tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    """What stands between two fences, or behind one that never closes."""

    code: str
    closed: bool
    language: str


def cut(response: str, stop_at: Sequence[str]) -> tuple[str, bool]:
    """The response up to the first of the marks in `stop_at`, and whether there was one.

    The line break that opens a mark stays with the code.
    """
    found = [(position, mark) for mark in stop_at if (position := response.find(mark)) >= 0]
    if not found:
        return response, False
    position, mark = min(found)
    return response[: position + 1 if mark.startswith("\n") else position], True


def extract(response: str, preamble: str, entry_point: str, *, at_limit: bool) -> Extracted:
    """What of a response follows the preamble; `at_limit` says that the response ended for want of tokens.

    Code that was complete when the tokens ran out is not truncated: only prose was lost.
    """
    name = function_name(entry_point)
    program = _program(response, preamble, name)
    return Extracted(code=graft(program.code, preamble, name), truncated=at_limit and not program.closed)


def _program(response: str, preamble: str, name: str) -> _Block:
    """The code in a response: fenced, or between prose, or all of it."""
    before, blocks = _split(response)
    if _is_indented(before) and preamble:
        return _Block(code=before, closed=bool(blocks), language="")
    if blocks:
        return _best(blocks, name)
    is_program = not preamble or (name and definition_of(name).search(response))
    return _without_prose(response) if is_program else _Block(code=response, closed=False, language="")


def _split(response: str) -> tuple[str, list[_Block]]:
    """What stands before the first fence, and the blocks."""
    before: list[str] = []
    blocks: list[_Block] = []
    inside: list[str] | None = None
    language = ""
    for line in response.splitlines(keepends=True):
        fence = _FENCE.match(line)
        if fence and inside is None:
            inside, language = [], fence[1].lower()
        elif fence and not fence[1] and inside is not None:
            blocks.append(_Block(code="".join(inside), closed=True, language=language))
            inside = None
        elif inside is not None:
            inside.append(line)
        elif not blocks:
            before.append(line)
    if inside is not None:
        blocks.append(_Block(code="".join(inside), closed=False, language=language))
    return "".join(before), blocks


def _best(blocks: Sequence[_Block], name: str) -> _Block:
    """The first block that defines what was asked for; else the longest one in Python, closed ones first."""
    for block in blocks:
        if name and definition_of(name).search(block.code):
            return block
    in_python = [block for block in blocks if block.language in _PYTHON] or blocks
    return max(in_python, key=lambda block: (block.closed, len(block.code)))


def _without_prose(response: str) -> _Block:
    """From the first line that begins code to the last with which it can be parsed; all of it where there is no such stretch."""
    if response.lstrip().startswith("#") and _parses(response):
        return _Block(code=response, closed=False, language="")
    lines = response.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if _BEGINS_CODE.match(line)), None)
    if first is None:
        return _Block(code=response, closed=False, language="")
    for last in range(len(lines), first, -1):
        code = "".join(lines[first:last])
        if (last == len(lines) or not lines[last][:1].isspace()) and _parses(code):
            return _Block(code=code, closed=last < len(lines), language="")
    return _Block(code="".join(lines[first:]), closed=False, language="")


def _is_indented(text: str) -> bool:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first[:1].isspace()


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
