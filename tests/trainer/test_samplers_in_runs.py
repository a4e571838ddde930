"""Whole runs, small, that sample in other ways than the embedded default; and what is said where a sampler is missing."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.trainer import adapted, small
from tests.trainer.fakes import FakeExecutor
from tests.trainer.sampling.completions_server import CompletionsServer, serving
from trainer import family
from trainer.language_model import load
from trainer.main import main, run
from trainer.recipe import Recipe
from trainer.records import Candidate, Request, read_lines, write_lines
from trainer.revision import revision
from trainer.run_folder import open_run
from trainer.sampling.assembly import Samplers
from trainer.screen import Screen

LONG_ENOUGH_TO_END = {"max_response_tokens": 60, "temperatures": (1.0,), "samples_per_temperature": 4}


@pytest.fixture
def changes(tmp_path: Path) -> dict[str, Any]:
    """A model and problems from files, and one round from the model as it came."""
    small.model().save(tmp_path / "model")
    write_lines(tmp_path / "problems.jsonl", family.generate({"start": 20}, 0))
    return {
        "tasks": {"problems": str(tmp_path / "problems.jsonl"), "train": 8, "held_out": 6},
        "model": {"path": str(tmp_path / "model")},
        "sft": {"epochs": 0},
        "training": {"rounds": 1, "epochs": 1, "batch_tasks": 4},
    }


def run_once(tmp_path: Path, changes: dict[str, Any]) -> Path:
    recipe = Recipe.model_validate({**small.recipe(tmp_path / "runs").model_dump(), **changes})
    folder = open_run(recipe)
    try:
        run(recipe, folder, FakeExecutor().connect, Screen(Console(quiet=True)))
    finally:
        folder.close()
    return folder.path


def candidates(folder: Path, stage: str) -> list[dict[str, Any]]:
    return [line["candidate"] for line in read_lines(folder / stage / "outcomes.jsonl")]


def test_a_run_with_a_server(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The server samples the round; evaluations, which are compared, are sampled alike in this process."""
    model = load(tmp_path / "model")
    with serving(CompletionsServer(model)) as server:
        sampling = {"sampler": "openai", "max_response_tokens": 12, "temperatures": (0.7, 1.0)}
        folder = run_once(tmp_path, {**changes, "sampling": sampling, "openai": {"addresses": [server.address]}})
        assert len(server.requests) == 8 * 2
    [made_by] = {(c["sampler"], c["model"]) for c in candidates(folder, "round-1/samples")}
    assert made_by == ("openai", revision(tmp_path / "model"))
    for stage in ("start/evaluation", "round-1/evaluation"):
        assert {c["sampler"].split()[0] for c in candidates(folder, stage)} == {"transformers"}


@pytest.mark.parametrize(
    ("root", "is_another"),
    [
        ("elsewhere/another", True),
        ("{here}/models/../model", False),
        ("{here}/copy", False),
        ("{here}/tuned", True),
        ("{here}/not-on-this-machine", True),
    ],
)
def test_samples_of_a_server_name_the_model_that_it_serves(
    tmp_path: Path, changes: dict[str, Any], root: str, is_another: bool
) -> None:
    """Where that is not the recipe's; and the user is told."""
    small.model().save(tmp_path / "copy")
    small.model(seed=1).save(tmp_path / "tuned")
    (tmp_path / "models").mkdir()
    root = root.format(here=tmp_path)
    told: list[str] = []
    found: list[Candidate] = []
    with serving(CompletionsServer(load(tmp_path / "model"), root=root)) as server:
        sampling = {"sampler": "openai", "max_response_tokens": 2, "temperatures": (1.0,)}
        made = {**changes, "sampling": sampling, "openai": {"addresses": [server.address]}}
        recipe = Recipe.model_validate({**small.recipe(tmp_path).model_dump(), **made})
        with Samplers(recipe, told.append) as samplers:
            sampler = samplers.of_model(tmp_path / "model", lambda: load(tmp_path / "model"), "round-1/samples")
            asked = Request(id="r", task_id="t", prompt="def solve(x):\n", temperature=1.0)
            sampler.sample([asked], found.append, threading.Event())
    assert [c.model for c in found] == [f"served:{root}" if is_another else revision(tmp_path / "model")]
    assert [root in line for line in told] == [True] * is_another


def test_a_task_that_begins_no_function_is_answered_by_a_whole_program(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Which the marks that end a function do not cut: servers are told others."""
    whole = {"solution": "print(input())", "inputs": ["1\n"], "outputs": ["1\n"]}
    lines = [{**whole, "task_id": f"stdin/{n}", "prompt": f"Write it {n} times.\n"} for n in range(6)]
    write_lines(tmp_path / "stdin.jsonl", [*family.generate({"start": 6}, 0), *lines])
    tasks = {"problems": str(tmp_path / "stdin.jsonl"), "train": 10, "held_out": 2}
    marks = {"stop_at": ["function"], "stop_programs_at": ["program"]}
    with serving(CompletionsServer(load(tmp_path / "model"))) as server:
        sampling = {"sampler": "openai", "max_response_tokens": 4, "temperatures": (1.0,), **marks}
        model, openai = {**changes["model"], "prompt": "completion"}, {"addresses": [server.address], "ask": "text"}
        run_once(tmp_path, {**changes, "tasks": tasks, "model": model, "sampling": sampling, "openai": openai})
    assert len(server.requests) == 10
    assert all(body["stop"] == (["program"] if "Write it" in body["prompt"] else ["function"]) for body in server.requests)


def test_every_sample_names_the_model_that_wrote_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The hash of the folder from which it can be loaded again."""
    folder = run_once(tmp_path, changes)
    assert {c["model"] for c in candidates(folder, "start/evaluation")} == {revision(tmp_path / "model")}
    assert {c["model"] for c in candidates(folder, "round-1/evaluation")} == {revision(folder / "round-1/model")}


def test_rounds_of_adapters_hand_over_merged_weights(tmp_path: Path) -> None:
    """Each round samples from, is trained on top of, and saves a plain model that says the same when it is loaded."""
    folder = adapted.run_adapted(tmp_path, "transformers")
    for stage in ("round-1", "round-2"):
        assert adapted.evaluated(folder, stage) == adapted.said_by_itself(folder, stage)
    assert {c["model"] for c in adapted.candidates(folder, "round-2/samples")} == {revision(folder / "round-1/model")}
    said = [adapted.evaluated(folder, stage) for stage in ("start", "round-1", "round-2")]
    assert said[0] != said[1] != said[2]
    assert (folder / "round-2/model/adapter/adapter_model.safetensors").exists()


def test_a_run_with_a_teacher_model(tmp_path: Path, changes: dict[str, Any]) -> None:
    """It answers beside the gold solutions, and finds the student's candidates more or less likely."""
    teacher = {"sampler": "transformers", "path": str(tmp_path / "model"), "score": "likelihood", "max_response_tokens": 8}
    folder = run_once(tmp_path, {**changes, "teacher": {**teacher, "samples": 2}, "sampling": LONG_ENOUGH_TO_END})
    assert len(candidates(folder, "round-1/teacher")) == 2 * 8
    assert all(candidate["teacher"] for candidate in candidates(folder, "round-1/teacher"))
    outcomes = list(read_lines(folder / "round-1/samples/outcomes.jsonl"))
    whole = [outcome for outcome in outcomes if not outcome["candidate"]["truncated"]]
    assert whole
    assert all(0 < outcome["teacher_score"] < 1 for outcome in whole)


def test_a_run_with_a_chat_as_teacher_and_judge(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Its code is taken out of its prose, ranks above the student's, and stands in for gold where that does not teach."""
    with serving(CompletionsServer(load(tmp_path / "model"), says="Score: 9\n```python\nx = 1\n```")) as server:
        teacher = {"sampler": "openai", "addresses": [server.address], "score": "judge", "gold": False}
        folder = run_once(tmp_path, {**changes, "teacher": teacher, "sampling": LONG_ENOUGH_TO_END})
    assert {(c["completion"], c["model"]) for c in candidates(folder, "round-1/teacher")} == {("x = 1\n", "served:tiny")}
    ranked = list(read_lines(folder / "round-1/samples/ranked.jsonl"))
    assert {r["completion"] for task in ranked for r in task["responses"] if r["teacher"]} == {"x = 1\n"}
    assert json.loads((folder / "round-1/samples/metrics.json").read_text())["teacher_scores"] > 0


@pytest.mark.parametrize("form", ["docstring", "chat"])
def test_a_model_is_trained_on_the_prompt_that_it_is_asked(tmp_path: Path, changes: dict[str, Any], form: str) -> None:
    """Whatever the form of the prompt."""
    model = load(tmp_path / "model")
    model.tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}\nassistant:"
    model.save(tmp_path / "model")
    folder = run_once(tmp_path, {**changes, "model": {**changes["model"], "prompt": form}, "sampling": LONG_ENOUGH_TO_END})
    [first, *_] = read_lines(folder / "round-1/samples/ranked.jsonl")
    opens = {"docstring": '"""', "chat": "Solve this task"}
    assert first["prompt"].startswith(opens[form])


def test_a_revision_changes_with_the_weights_alone(tmp_path: Path) -> None:
    """Not with what else lies in the folder."""
    small.model().save(tmp_path / "a")
    small.model().save(tmp_path / "b")
    small.model(seed=1).save(tmp_path / "c")
    (tmp_path / "b" / "time.json").write_text(json.dumps({"seconds": 3}))
    assert revision(tmp_path / "a") == revision(tmp_path / "b") != revision(tmp_path / "c")


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["openai.addresses=[]"], "openai.addresses is empty: say where the servers are"),
        (['openai.addresses=["localhost:8000"]'], "an address is that of an API, such as http://localhost:8000/v1"),
        (["openai.ask=chat"], 'openai.ask is "chat": the server would put tasks into a template'),
        (["sft.epochs=8"], "set openai.reload to true, or sft.epochs to 0 and training.rounds to 1"),
        ([], "openai.addresses: no server answers at http://127.0.0.1:9/v1 (All connection attempts failed); start one there"),
    ],
)
def test_a_server_that_is_missing_is_one_line_and_leaves_nothing(
    tmp_path: Path, overrides: list[str], wanted: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked for before a folder is made; exit code 2."""
    small.model().save(tmp_path / "model")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    settings = ["sampling.sampler=openai", "sft.epochs=0", "training.rounds=1", f"model.path={tmp_path}/model"]
    lengths = [
        "tasks.train=8",
        "tasks.held_out=4",
        "sampling.max_response_tokens=8",
        'openai.addresses=["http://127.0.0.1:9/v1"]',
    ]
    assert main([f"--set={override}" for override in [*settings, *lengths, *overrides]]) == 2
    message = capsys.readouterr().err.strip()
    assert wanted in message
    assert len(message.splitlines()) == 1
    assert list((tmp_path / "here").iterdir()) == []
