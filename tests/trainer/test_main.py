"""Whole runs, small: what they leave behind, how they continue, and one on the real engine."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine.client import Job, Verdict
from tests.trainer import small
from tests.trainer.fakes import FakeExecutor
from trainer.errors import ModelError, RunFolderError, TasksError, TrainingError
from trainer.execution import serve
from trainer.language_model import load
from trainer.main import main, run
from trainer.objectives.settings import OBJECTIVES
from trainer.preflight import check_inputs, check_models
from trainer.recipe import Recipe
from trainer.records import read_lines, write_lines
from trainer.run_folder import open_run
from trainer.screen import Screen
from trainer.tasks import PROBLEMS, deal


def run_once(recipe: Recipe, executor: FakeExecutor) -> Path:
    """One run of the command's inside; gives its folder."""
    folder = open_run(recipe)
    try:
        run(recipe, folder, executor.connect, Screen(Console(quiet=True)))
    finally:
        folder.close()
    return folder.path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that was never interrupted."""
    return run_once(small.recipe(tmp_path_factory.mktemp("finished")), FakeExecutor())


def differing_verdicts(job: Job) -> Verdict:
    """Gold solutions pass, and one in two of what a student wrote, so that every objective has something to prefer."""
    return Verdict.PASSED if "/samples/" not in job.id or len(str(job.program)) % 2 else Verdict.WRONG_ANSWER


def completions(folder: Path, stage: str) -> list[str]:
    return [line["candidate"]["completion"] for line in read_lines(folder / stage / "outcomes.jsonl")]


@pytest.mark.parametrize("stage", ["start", "round-1", "round-2"])
def test_every_model_can_be_loaded_with_its_tokenizer(finished: Path, stage: str) -> None:
    """Hugging Face format, and the tokenizer gives its text back."""
    model = load(finished / stage / "model")
    text = "def solve(xs):\n    return sorted(xs)[::-1]\n"
    assert model.text(model.response_ids(text)) == text
    assert model.response_ids(text)[-1] == model.end_id


def test_the_folder_says_how_the_run_was_made(finished: Path) -> None:
    """The resolved recipe is a recipe again, and every candidate has its seed and temperature."""
    recipe = Recipe.model_validate_json((finished / "recipe.json").read_text())
    assert recipe.run.seed == 0
    assert json.loads((finished / "versions.json").read_text())["torch"]
    for line in read_lines(finished / "round-1/samples/outcomes.jsonl"):
        assert line["candidate"]["seed"] > 0
        assert line["candidate"]["temperature"] in recipe.sampling.temperatures


def test_no_held_out_task_is_trained_on(finished: Path) -> None:
    """Not by the start, which has tasks of its own, and not by the rounds."""
    trained = {
        line["task_id"] for name in ("round-1", "round-2") for line in read_lines(finished / name / "samples/ranked.jsonl")
    }
    assert trained
    assert all(task_id.startswith("train/") for task_id in trained)


@pytest.mark.parametrize("objective", [kind.model_fields["name"].default for kind in OBJECTIVES])
def test_every_objective_trains_a_whole_run(tmp_path: Path, objective: str) -> None:
    """Two rounds with numbers in every step, and a model that moved in each."""
    recipe = Recipe.model_validate({**small.recipe(tmp_path).model_dump(), "objective": {"name": objective}})
    folder = run_once(recipe, FakeExecutor(differing_verdicts))
    for name in ("round-1", "round-2"):
        steps = list(read_lines(folder / name / "model/steps.jsonl"))
        assert len(steps) == 1
        assert all(math.isfinite(value) for step in steps for value in step.values())
    weights = [(folder / name / "model/model.safetensors").read_bytes() for name in ("start", "round-1", "round-2")]
    assert len(set(weights)) == 3


def test_the_rounds_share_no_task(finished: Path) -> None:
    """Each samples tasks of its own."""
    first, second = (
        {line["task_id"] for line in read_lines(finished / name / "samples/ranked.jsonl")} for name in ("round-1", "round-2")
    )
    assert not first & second


def test_the_report_needs_nothing_from_elsewhere(finished: Path) -> None:
    """One page without links, and a candidate's text cannot end its script."""
    page = (finished / "report.html").read_text()
    assert "http" not in page
    assert "src=" not in page
    assert page.count("</script>") == 1


@pytest.mark.parametrize("stage", ["start/evaluation", "round-1/samples", "round-2/evaluation"])
def test_an_interrupted_run_continues_and_repeats_nothing(finished: Path, tmp_path: Path, stage: str) -> None:
    """Finished stages send no program again, and the end is that of a run without interruption."""
    recipe = small.recipe(tmp_path)
    before, after = FakeExecutor(fail_at=stage), FakeExecutor()
    with pytest.raises(KeyboardInterrupt):
        run_once(recipe, before)
    folder = run_once(recipe, after)
    assert folder == tmp_path / "small"
    assert not set(before.ids) & {name for name in after.ids if not name.startswith(stage)}
    assert completions(folder, "round-2/evaluation") == completions(finished, "round-2/evaluation")
    assert not list(folder.rglob("*.partial"))


def test_a_loss_that_is_no_number_ends_a_run_whose_stages_can_be_kept(tmp_path: Path) -> None:
    """The message names stage, cause and cure; a run with another learning rate takes over what came before."""
    recipe = small.recipe(tmp_path).model_dump()
    too_high = Recipe.model_validate({**recipe, "training": {**recipe["training"], "learning_rate": 1e30, "epochs": 9}})
    first, second = FakeExecutor(), FakeExecutor()
    with pytest.raises(TrainingError, match=r"round-1/model, step \d+: .*Lower the learning rate.*run\.take_over=.*/small keeps"):
        run_once(too_high, first)
    cured = Recipe.model_validate({**recipe, "run": {**recipe["run"], "take_over": str(tmp_path / "small")}})
    folder = run_once(cured, second)
    assert folder == tmp_path / "small-2"
    assert not set(first.ids) & set(second.ids)
    assert completions(folder, "round-1/samples") == completions(tmp_path / "small", "round-1/samples")


def test_a_finished_run_is_never_touched_again(tmp_path: Path) -> None:
    """The same command makes a new folder with a number."""
    recipe = small.recipe(tmp_path)
    first = run_once(recipe, FakeExecutor())
    with open_run(recipe).lock:
        assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, "small-2"]


def test_another_recipe_of_that_name_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    """An unfinished run is continued by its own recipe only."""
    with open_run(small.recipe(tmp_path)).lock, open_run(small.recipe(tmp_path, seed=1)).lock:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["small", "small-2"]


def test_an_unfinished_run_is_continued_past_a_newer_one(tmp_path: Path) -> None:
    """Another recipe of the same name came in between; of several that fit, the newest is taken."""
    recipe = small.recipe(tmp_path)
    open_run(recipe).close()
    open_run(small.recipe(tmp_path, seed=1)).close()
    again = open_run(recipe)
    again.close()
    assert (again.path, again.continued) == (tmp_path / "small", True)
    (tmp_path / "small").rename(tmp_path / "small-7")
    again = open_run(recipe)
    again.close()
    assert (again.path, again.continued) == (tmp_path / "small-7", True)


def test_a_new_run_never_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    """Its number is above all others, also where one was removed."""
    (tmp_path / "small-3").mkdir()
    with open_run(small.recipe(tmp_path)).lock:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["small-3", "small-4"]


def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    """The second is told so."""
    recipe = small.recipe(tmp_path)
    with open_run(recipe).lock, pytest.raises(RunFolderError, match="in use by another process"):
        open_run(recipe)


def test_any_model_and_any_problems_file_will_do(finished: Path, tmp_path: Path) -> None:
    """A saved model and a file in HumanEval's fields, without a supervised start; the parts are split off the file."""
    changes = {
        "tasks": {"problems": str(finished / "tasks/problems.jsonl"), "train": 10, "held_out": 5},
        "model": {"path": str(finished / "start/model")},
        "sft": {"epochs": 0},
    }
    recipe = Recipe.model_validate({**small.recipe(tmp_path).model_dump(), **changes})
    folder = run_once(recipe, FakeExecutor())
    parts = json.loads((folder / "tasks/parts.json").read_text())
    assert {name: len(ids) for name, ids in parts.items()} == {"start": 0, "train": 10, "held_out": 5}
    assert not (folder / "start/model").exists()
    assert completions(folder, "start/evaluation")


@pytest.mark.parametrize(
    ("context", "wanted"),
    [
        (
            128,
            r"sampling\.max_response_tokens is 80 and the longest prompt \(.*\) has \d+ tokens, .* the 128 of the model",
        ),
        (16, r"together more than the 16 of the model's context; leave that task out"),
    ],
)
def test_a_context_that_is_too_short_is_refused(finished: Path, tmp_path: Path, context: int, wanted: str) -> None:
    """Before the run: in its middle it would be an index out of range."""
    model = load(finished / "start/model")
    model.network.config.max_position_embeddings = context
    model.save(tmp_path / "short")
    changes = {"model": {"path": str(tmp_path / "short")}, "sampling": {"max_response_tokens": 80}}
    with pytest.raises(ModelError, match=wanted):
        check_inputs(Recipe.model_validate({**small.recipe(tmp_path).model_dump(), **changes}))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"teacher": {"sampler": "transformers", "max_response_tokens": 120}},
            r"teacher\.max_response_tokens is 120 and .* the 128 of the context of teacher\.path; .* take a teacher with",
        ),
        (
            {"teacher": {"score": "likelihood"}, "sampling": {"max_response_tokens": 126}},
            r"sampling\.max_response_tokens is 126 and .* the 128 of the context of teacher\.path",
        ),
        (
            {
                "model": {"path": "{long}"},
                "sampling": {"sampler": "ray"},
                "ray": {"sampler": "vllm"},
                "vllm": {"context_tokens": 9},
            },
            r"together more than the 9 of vllm\.context_tokens; leave that task out, or raise that",
        ),
    ],
)
def test_a_sampler_with_too_short_a_context_is_refused(
    finished: Path, tmp_path: Path, changes: dict[str, Any], wanted: str
) -> None:
    """That of a teacher, or what vLLM is given, in the middle of the run."""
    model = load(finished / "start/model")
    model.save(tmp_path / "long")
    model.network.config.max_position_embeddings = 128
    model.save(tmp_path / "short")
    made = json.loads(json.dumps(changes).replace("{long}", str(tmp_path / "long")))
    if "teacher" in made:
        made["teacher"]["path"] = str(tmp_path / "short")
    recipe = Recipe.model_validate({**small.recipe(tmp_path).model_dump(), **made})
    with pytest.raises(ModelError, match=wanted):
        check_models(recipe, deal(recipe, finished / "tasks" / PROBLEMS))


def test_a_solution_longer_than_the_context_is_refused(finished: Path, tmp_path: Path) -> None:
    """It is trained on, however short the sampled responses are."""
    model = load(finished / "start/model")
    path = tmp_path / "long.jsonl"
    lines = list(read_lines(finished / "tasks/problems.jsonl"))
    write_lines(path, [{**line, "canonical_solution": "    x = 1\n" * 300} for line in lines])
    model.save(tmp_path / "model")
    changes = {
        "tasks": {"problems": str(path), "start": 10, "train": 10, "held_out": 5},
        "model": {"path": str(tmp_path / "model")},
    }
    with pytest.raises(ModelError, match="tokens with its own solution, more than the 256"):
        check_inputs(Recipe.model_validate({**small.recipe(tmp_path).model_dump(), **changes}))


def fails_gold(word: str) -> Callable[[Job], Verdict]:
    """The engine finds the gold solutions of one part wrong."""
    return lambda job: Verdict.WRONG_ANSWER if job.id.startswith(word) else Verdict.PASSED


def test_a_task_whose_own_solution_fails_is_not_used(tmp_path: Path) -> None:
    """Where none is left, the run ends in one line that says which."""
    with pytest.raises(TasksError, match=r"tasks\.held_out: no task is left .*held_out/\d+: wrong_answer"):
        run_once(small.recipe(tmp_path), FakeExecutor(fails_gold("held_out/")))


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("tasks.problems=nowhere.jsonl", "there is no file nowhere.jsonl"),
        ("model.path=./nowhere", "no causal LM at './nowhere': there is no such folder"),
        ("model.path=.", "no causal LM at '.': the folder has no weights"),
        ("run.folder=/proc/nowhere", "run.folder: cannot write to /proc/nowhere"),
        ("run.device=foo", "run.device: torch cannot compute on 'foo'"),
        ("run.device=cuda:99", "run.device: torch cannot compute on 'cuda:99'"),
        ("engine.address=unix:/nowhere.sock", "/nowhere.sock"),
    ],
)
def test_what_is_missing_is_one_line_and_leaves_nothing(
    tmp_path: Path, override: str, wanted: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at before a folder is made; exit code 2."""
    monkeypatch.chdir(tmp_path)
    arguments = ["--set", override] + ([] if "address" in override else ["--set", "engine.address=unix:/elsewhere.sock"])
    assert main(arguments) == 2
    message = capsys.readouterr().err.strip()
    assert wanted in message
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.jail
@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("engine.memory_bytes=1000", "engine.memory_bytes is 1000; give at least"),
        ("engine.cpu_time_ms=99999999", "engine.cpu_time_ms is 99999999; the most this engine allows is"),
    ],
)
def test_a_limit_that_the_engine_refuses_leaves_nothing(
    tmp_path: Path, override: str, wanted: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One program is run under the limits of the run before its folder is made."""
    monkeypatch.chdir(tmp_path)
    assert main(["--set", override]) == 2
    message = capsys.readouterr().err.strip()
    assert wanted in message
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.jail
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_names_the_folder_and_leaves_no_engine(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM alike: the same command continues, and the engine's folder is gone."""
    (tmp_path / "tmp").mkdir()
    few_tasks_for_long = ("tasks.start=16", "tasks.train=8", "tasks.held_out=6", "sft.epochs=5000")
    overrides = [f"--set={key}" for key in (f"run.folder={tmp_path}/runs", "run.threads=1", *few_tasks_for_long)]
    command = [sys.executable, "-m", "trainer.main", *overrides]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert any("Supervised start" in line for line in process.stdout)
        process.send_signal(number)
        assert process.wait(60) == code
        message = process.stderr.read()
    assert f"interrupted: the run lies in {tmp_path}/runs/embedded; the same command continues it" in message
    assert "Traceback" not in message
    assert list((tmp_path / "tmp").glob("rrtf-engine-*")) == []


@pytest.mark.jail
@pytest.mark.slow
def test_a_small_run_on_the_real_engine(tmp_path: Path) -> None:
    """From tasks to report, every program in a jail: gold solutions pass and an untrained model solves nothing."""
    recipe = small.recipe(tmp_path)
    folder = open_run(recipe)
    with serve(recipe.engine) as connect:
        run(recipe, folder, connect, Screen(Console(quiet=True)))
    folder.close()
    gold: list[dict[str, Any]] = list(read_lines(folder.path / "tasks/gold.jsonl"))
    assert {line["verdict"] for line in gold} == {"passed"}
    assert {line["trust"] for line in gold} <= {"compared_outside", "examined"}
    summary = json.loads((folder.path / "summary.json").read_text())
    assert summary["pass_at_1_before"] == 0.0
    assert summary["programs"] == 16
