"""The evaluation command: what it says about mistakes, and what it finds on the real engine."""

import json
from pathlib import Path

import pytest

from tests.trainer import small
from trainer import family
from trainer.evaluate import main
from trainer.records import write_lines


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--k", "10"], "--k 10 needs at least as many --samples, not 1"),
        (["--samples", "4"], "several --samples need a --temperature above 0"),
        ([], "there is no file nowhere.jsonl"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before a model is loaded."""
    assert main(["./nowhere", "nowhere.jsonl", *arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert wanted in message
    assert len(message.splitlines()) == 1


@pytest.mark.jail
def test_a_model_that_learnt_nothing_solves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every sample ran in a jail and has a verdict; one object is printed."""
    small.model().save(tmp_path / "model")
    write_lines(tmp_path / "problems.jsonl", family.generate({"held_out": 4}, 1))
    arguments = ["--samples", "2", "--temperature", "1", "--k", "1", "--k", "2", "--max-response-tokens", "12", "--json"]
    assert main([str(tmp_path / "model"), str(tmp_path / "problems.jsonl"), *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["pass@1"], result["pass@2"], result["tasks"]) == (0.0, 0.0, 4)
    assert sum(result["verdicts"].values()) == 8
    assert result["tasks_that_count"] == {"pass@1": 4, "pass@2": 4}
