"""Recipes from TOML files and `--set section.key=value`; every mistake becomes one line that names the cure."""

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trainer.errors import RecipeError
from trainer.objectives.settings import OBJECTIVES
from trainer.recipe import Recipe
from trainer.section import Section

_OBJECTIVE = "objective"
"""The section whose keys depend on the value of one of them, its name."""


def load(path: Path | None, overrides: Sequence[str]) -> Recipe:
    """The recipe at `path`, or the embedded default, with `overrides` on top.

    A recipe without a run.name is named after its file. Raises RecipeError.
    """
    data = _read(path) if path else {}
    if path and isinstance(data.setdefault("run", {}), dict):
        data["run"].setdefault("name", path.stem)
    for override in overrides:
        _apply(data, override)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        first, *others = [_explain(detail) for detail in error.errors()]
        raise RecipeError(first + (f" (and {len(others)} more)" if others else "")) from error


def all_keys() -> Iterator[tuple[str, str]]:
    """Every key of a recipe and what it means, those of every objective among them."""
    for section, field in Recipe.model_fields.items():
        for kind in OBJECTIVES if section == _OBJECTIVE else (type(field.default),):
            for name, inner in kind.model_fields.items():
                yield f"{section}.{name}", inner.description or ""


def defaults() -> str:
    """The embedded default as TOML, each key below its meaning; the keys of the other objectives as comments."""
    lines = []
    for section, field in Recipe.model_fields.items():
        lines += [f"[{section}]", *_keys(type(field.default))]
        if section == _OBJECTIVE:
            lines += [f"# {line}".rstrip() for kind in OBJECTIVES[1:] for line in ("-- or:", *_keys(kind))]
    return "\n".join(lines)


def _keys(section: type[Section]) -> Iterator[str]:
    """Each key below its meaning."""
    for name, field in section.model_fields.items():
        yield from (f"# {field.description}", f"{name} = {_toml(field.default)}", "")


def _toml(value: object) -> str:
    """Numbers, texts and lists of them; JSON writes these as TOML does."""
    return json.dumps(value, ensure_ascii=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and name):
        raise RecipeError(f"--set {override}: write section.key=value, for example --set run.seed=1")
    inside = data.setdefault(section, {})
    if not isinstance(inside, dict):
        raise RecipeError(f"--set {override}: [{section}] of the recipe is not a section")
    inside[name] = _parse(value.strip())


def _parse(value: str) -> object:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _explain(detail: ErrorDetails) -> str:
    place = list(detail["loc"])
    if place == [_OBJECTIVE] and detail["type"] == "union_tag_invalid":
        return f"{_OBJECTIVE}.name: there is no such objective; choose one of {', '.join(_objectives())}"
    chosen = str(place.pop(1)) if place[:1] == [_OBJECTIVE] and len(place) > 2 else ""  # pydantic names the chosen member
    where = ".".join(str(part) for part in place)
    if detail["type"] == "extra_forbidden" and chosen:
        keys = ", ".join(_objectives()[chosen].model_fields)
        return f"{where}: the objective {chosen} has no such key; its keys are {keys}"
    if detail["type"] == "extra_forbidden":
        return f"{where}: there is no such key; {_nearest(where)}"
    message = detail["msg"].removeprefix("Value error, ")
    given = "" if isinstance(detail["input"], Mapping | Section) else f", not {detail['input']!r}"
    return f"{where or 'recipe'}: {message[0].lower()}{message[1:]}{given}"


def _objectives() -> dict[str, type[Section]]:
    return {kind.model_fields["name"].default: kind for kind in OBJECTIVES}


def _nearest(where: str) -> str:
    known = [key for key, _ in all_keys()]
    section, _, name = where.partition(".")
    if not name:
        sections = list(Recipe.model_fields)
        near = difflib.get_close_matches(section, sections, n=1, cutoff=0.5)
        return f"did you mean [{near[0]}]?" if near else f"the sections are {', '.join(sections)}"
    same_section = {key.partition(".")[2]: key for key in known if key.startswith(f"{section}.")}
    close = difflib.get_close_matches(name, list(same_section), n=1, cutoff=0.5)
    near = [same_section[close[0]]] if close else difflib.get_close_matches(where, known, n=1, cutoff=0.0)
    return f"did you mean {near[0]}?"
