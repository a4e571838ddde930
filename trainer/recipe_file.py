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
from trainer.recipe import Recipe, Section


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


def all_keys() -> Iterator[tuple[str, object, str]]:
    """Every key of a recipe with its default and what it means."""
    for section, field in Recipe.model_fields.items():
        for name, inner in type(field.default).model_fields.items():
            yield f"{section}.{name}", inner.default, inner.description or ""


def defaults() -> str:
    """The embedded default as TOML, each key below its meaning."""
    lines, section = [], ""
    for key, default, meaning in all_keys():
        before, section, name = section, *key.split(".")
        if section != before:
            lines += [f"[{section}]"]
        lines += [f"# {line.strip()}" for line in meaning.splitlines()]
        lines += [f"{name} = {_toml(default)}", ""]
    return "\n".join(lines)


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
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{where}: there is no such key; {_nearest(where)}"
    message = detail["msg"].removeprefix("Value error, ")
    given = "" if isinstance(detail["input"], Mapping | Section) else f", not {detail['input']!r}"
    return f"{where or 'recipe'}: {message[0].lower()}{message[1:]}{given}"


def _nearest(where: str) -> str:
    known = [key for key, _, _ in all_keys()]
    section, _, name = where.partition(".")
    if not name:
        sections = list(Recipe.model_fields)
        near = difflib.get_close_matches(section, sections, n=1, cutoff=0.5)
        return f"did you mean [{near[0]}]?" if near else f"the sections are {', '.join(sections)}"
    same_section = {key.partition(".")[2]: key for key in known if key.startswith(f"{section}.")}
    close = difflib.get_close_matches(name, list(same_section), n=1, cutoff=0.5)
    near = [same_section[close[0]]] if close else difflib.get_close_matches(where, known, n=1, cutoff=0.0)
    return f"did you mean {near[0]}?"
