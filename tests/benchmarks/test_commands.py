"""What lies in benchmarks/ can be started, and says how."""

import pkgutil
import runpy
from pathlib import Path

import pytest

import benchmarks

FOLDER = Path(benchmarks.__path__[0])


@pytest.mark.parametrize("name", sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__)))
def test_each_is_a_command(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its help begins with the line that starts it: nothing in there does nothing when it is started."""
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / name if (FOLDER / name).is_dir() else FOLDER / f"{name}.py"), run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m benchmarks.{name} ")
