"""What can be seen at once, before any library is loaded or a network asked: the files of problems and the place for the run."""

import tempfile
from pathlib import Path

from trainer import tasks
from trainer.errors import RunFolderError
from trainer.recipe import GENERATED, Recipe


def check(recipe: Recipe) -> None:
    """Raises TasksError or RunFolderError. Leaves nothing."""
    if recipe.tasks.problems != GENERATED:
        tasks.deal(recipe, Path())
    _check_place(Path(recipe.run.folder))


def _check_place(root: Path) -> None:
    """Whether a folder can be made there, or where it would be made."""
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise RunFolderError(
            f"run.folder: cannot write to {root}: {error.strerror}; choose another --set run.folder=..."
        ) from error
