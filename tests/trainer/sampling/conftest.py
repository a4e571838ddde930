"""What tests of samplers with weights that change need: the models OLD and NEW of a module, in folders."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    request.module.OLD.save(path / "old")
    request.module.NEW.save(path / "new")
    return path
