"""Recipes: what is read, and what is said about mistakes."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from trainer.errors import RecipeError
from trainer.main import main
from trainer.objectives.settings import OBJECTIVES, Dpo, Rrtf
from trainer.recipe import Recipe
from trainer.recipe_file import all_keys, defaults, load

RECIPES = sorted(Path(__file__).parents[2].joinpath("recipes").glob("*.toml"))


def test_without_a_file_the_recipe_is_the_embedded_default() -> None:
    """Nothing else has a say."""
    assert load(None, []) == Recipe()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    """And is named after its file."""
    assert load(path, []).run.name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_tells_its_memory_and_time(path: Path) -> None:
    """Above its first section."""
    head = path.read_text().partition("[")[0]
    assert "\n# Memory and time" in head


def test_every_objective_has_a_recipe() -> None:
    """The controls by their own names; RRTF is the default of the others."""
    shipped = {load(path, []).objective.name for path in RECIPES}
    assert shipped == {kind.model_fields["name"].default for kind in OBJECTIVES}


def test_the_embedded_default_is_written_out() -> None:
    """Each of its values is the default; trainer.recipe_file.defaults() writes it anew."""
    path = next(path for path in RECIPES if path.stem == "embedded")
    assert load(path, []) == Recipe()
    assert tomllib.loads(path.read_text()).keys() <= Recipe.model_fields.keys()


def test_set_wins_over_the_file(tmp_path: Path) -> None:
    """Values are read as TOML, and as text where they are none."""
    path = tmp_path / "own.toml"
    path.write_text("[training]\nrounds = 7\n[run]\nseed = 1\n")
    recipe = load(path, ["run.seed=2", "sampling.temperatures=[0.1, 0.9]", "model.path=some/model"])
    assert (recipe.training.rounds, recipe.run.seed) == (7, 2)
    assert recipe.sampling.temperatures == (0.1, 0.9)
    assert recipe.model.path == "some/model"


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("sampling.temperture=0.1", "did you mean sampling.temperatures?"),
        ("training.lr=0.1", "did you mean"),
        ("smapling.top_p=0.9", "did you mean [sampling]?"),
        ("run.seed=many", "run.seed: input should be a valid integer"),
        ("sampling.top_p=1.5", "sampling.top_p: input should be less than or equal to 1, not 1.5"),
        ("scoring.teacher_bonus=0", "scoring.teacher_bonus: input should be greater than 0"),
        ("scoring.passed=-0.5", "the levels must ascend"),
        ("scoring.limit=1.5", "scoring.limit is 1.5: set it below scoring.passed"),
        ("scoring.limit=1.0", "scoring.limit is 1: set it below scoring.passed"),
        ("seed=1", "write section.key=value"),
        ("run.seed", "write section.key=value"),
        ("sft.epochs=0", "a new model needs a supervised start"),
        ("sampling.temperatures=[]", "sampling.temperatures: without a temperature there is no candidate; give at least one"),
        ("sampling.temperatures=[inf]", "sampling.temperatures.0: input should be a finite number"),
        ('sampling.stop_at=[""]', "sampling.stop_at: an empty mark would end every response"),
        ("run.name=../esc", "run.name: a run's name is that of one folder"),
        ("run.name=..", "run.name: a run's name is that of one folder"),
        ("run.name=", "run.name: a run's name is that of one folder"),
        ("objective.name=ppo", "objective.name: there is no such objective; choose one of rrtf, sft, raft"),
        ("objective.beta=0.2", "objective.beta: the objective rrtf has no such key; its keys are name, rank_weight"),
        ("model.dtype=bfloat16", "model: a new model has float32 weights; leave model.dtype at float32"),
        ("model.heads=5", "model: width 192 cannot be shared by 5 heads; take a multiple of 10"),
        ("tasks.train=0", "tasks.train is 0, too few for 3 rounds"),
        ("tasks.held_out_problems=mine.jsonl", "tasks.held_out_problems goes with a problems file"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_cure(override: str, wanted: str) -> None:
    """Wrong key, wrong section, wrong kind, out of range."""
    with pytest.raises(RecipeError) as caught:
        load(None, [override])
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_objective_takes_its_own_keys_only() -> None:
    """Without a name they are those of RRTF."""
    assert load(None, ["objective.margin=0.5"]).objective == Rrtf(margin=0.5)
    assert load(None, ["objective.name=dpo", "objective.beta=0.2"]).objective == Dpo(beta=0.2)
    with pytest.raises(RecipeError, match=r"objective\.rank_weight: the objective dpo has no such key; its keys are name, beta"):
        load(None, ["objective.name=dpo", "objective.rank_weight=1"])


def test_a_wrong_value_of_an_objective_is_named_by_its_key() -> None:
    """Without the name of the objective in between."""
    with pytest.raises(RecipeError, match=r"^objective\.beta: input should be greater than 0"):
        load(None, ["objective.name=dpo", "objective.beta=0"])


def test_a_supervised_start_without_tasks_is_refused() -> None:
    """Also of a model that brings its weights."""
    with pytest.raises(RecipeError, match=r"set tasks\.start above 0, or sft\.epochs to 0"):
        load(None, ["model.path=some/model", "tasks.start=0"])


def test_a_mistake_ends_the_command_with_2_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback, no run folder."""
    monkeypatch.chdir(tmp_path)
    assert main(["--set", "run.sead=1"]) == 2
    captured = capsys.readouterr()
    assert captured.err.strip() == "error: run.sead: there is no such key; did you mean run.seed?"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_recipe_is_named() -> None:
    """With the reason of the operating system."""
    with pytest.raises(RecipeError, match=r"nowhere\.toml: No such file"):
        load(Path("nowhere.toml"), [])


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    """With the place of the mistake."""
    path = tmp_path / "bad.toml"
    path.write_text("run = [\n")
    with pytest.raises(RecipeError, match=r"bad\.toml: not TOML"):
        load(path, [])


def test_a_recipe_is_frozen() -> None:
    """A run's numbers cannot change under way."""
    with pytest.raises(ValidationError):
        Recipe().run.seed = 3


def test_the_help_lists_the_keys_of_every_section() -> None:
    """With their defaults, so that it teaches what a recipe may say."""
    assert {key.partition(".")[0] for key, _ in all_keys()} == set(Recipe.model_fields)


def test_every_key_has_a_meaning() -> None:
    """Of one line each."""
    assert [key for key, meaning in all_keys() if not meaning or "\n" in meaning] == []


def test_the_help_shows_a_recipe_that_can_be_pasted() -> None:
    """It is TOML, and says what the embedded default says."""
    assert Recipe.model_validate(tomllib.loads(defaults())) == Recipe()


def test_recipes_need_no_torch() -> None:
    """Reading one, and the help of the command, import none of the heavy packages."""
    code = "import sys, trainer.main; trainer.main.recipe_file.load(None, []); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
