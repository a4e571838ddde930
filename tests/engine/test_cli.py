"""The command line: what scripts rely on, and one clear line where something is wrong. A fake engine stands behind it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import metadata

import pytest

from engine.__main__ import main
from engine.client import ENGINE_DEFAULTS, LocalEngine
from engine.commands.limits import limits_of
from tests.engine.test_client import FAKE, nobody
from tests.engine.test_problems import HUMANEVAL


@pytest.fixture(scope="module")
def engine():
    with LocalEngine(command=FAKE) as engine:
        yield engine


@pytest.fixture
def problems(tmp_path):
    """Problems whose programs are the orders of the fake executor."""
    path = tmp_path / "problems.jsonl"
    lines = [HUMANEVAL | {"task_id": name, "prompt": "", "canonical_solution": "pass"} for name in ("a", "b")]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.fixture
def samples(tmp_path):
    def write(*programs):
        path = tmp_path / "samples.jsonl"
        path.write_text("\n".join(json.dumps({"task_id": task_id, "solution": program}) for task_id, program in programs))
        return path

    return write


def start(*arguments):
    """The command in a process and a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        process_group=0,
    )


@pytest.fixture
def call(capfd):
    """The command in this process: its exit code, stdout and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return (end.value.code or 0, *capfd.readouterr())

    return call


@pytest.fixture
def fails(call):
    """The one line that a command leaves that cannot be done."""

    def fails(*arguments):
        code, stdout, stderr = call(*arguments)
        assert (code, stdout) == (2, ""), stderr
        assert stderr.startswith("error: ")
        assert stderr.count("\n") == 1
        return stderr

    return fails


def test_grade_prints_one_object(call, engine, problems):
    """With the keys that others script against."""
    code, stdout, _ = call("grade", problems, "gold", "--json", "--address", engine.address)
    summary = json.loads(stdout)
    assert code == 0
    assert summary.pop("seconds") > 0
    assert summary.pop("programs_per_second") > 0
    assert summary == {
        "programs": 2,
        "passed": 2,
        "passed_delegated": 0,
        "verdicts": {"passed": 2},
        "pass@k": {"1": 1.0},
        "problems": 2,
        "problems_graded": 2,
        "not_runnable": 0,
        "resumed": 0,
    }


def test_grade_prints_a_table(call, engine, problems, samples):
    """For people: verdicts, pass@k and the rate."""
    path = samples(("a", "pass"), ("a", "echo: x"))
    code, stdout, stderr = call("grade", problems, path, "--address", engine.address)
    assert code == 0
    assert "1 of 2 passed, 1 of 2 problems" in stdout
    assert "pass@1  50.00%" in stdout
    assert "2/2" in stderr


def test_grade_keeps_what_a_finished_file_holds(call, engine, problems, samples, tmp_path, fails):
    """The same samples are not graded again, and those of others are not written over."""
    out = tmp_path / "out.jsonl"
    path = samples(("a", "pass"), ("b", "pass"))
    for resumed in (0, 2):
        code, stdout, _ = call("grade", problems, path, "--out", out, "--json", "--address", engine.address)
        summary = json.loads(stdout)
        assert (code, summary["resumed"], summary["passed"]) == (0, resumed, 2)
        assert len(out.read_text().splitlines()) == 2
    other = samples(("a", "pass"))
    assert "holds results of 1 other samples, such as b" in fails(
        "grade", problems, other, "--out", out, "--address", engine.address
    )
    assert len(out.read_text().splitlines()) == 2


def test_grade_goes_on_beside_samples_that_cannot_be_run(call, engine, problems, samples, tmp_path):
    """They are told, and no line of the results is theirs."""
    out = tmp_path / "out.jsonl"
    path = samples(("a", "bad no Python"), ("b", "pass"))
    code, stdout, stderr = call("grade", problems, path, "--out", out, "--json", "--address", engine.address)
    summary = json.loads(stdout)
    assert (code, summary["programs"], summary["passed"], summary["not_runnable"]) == (1, 1, 1, 1)
    assert "1 samples cannot be run as they are" in stderr
    assert "no Python" in stderr
    assert [json.loads(line)["task_id"] for line in out.read_text().splitlines()] == ["b"]


def test_grade_writes_results(call, engine, problems, samples, tmp_path):
    """One line per sample, and no file but the one asked for."""
    out = tmp_path / "out.jsonl"
    code, _, _ = call("grade", problems, samples(("a", "pass"), ("b", "echo: x")), "--out", out, "--address", engine.address)
    lines = {line["id"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert code == 0
    assert lines["a#0"]["passed"] is True
    assert lines["b#0"]["verdict"] == "finished"
    assert not out.with_name("out.jsonl.part").exists()


def test_grade_that_is_interrupted_says_what_it_keeps_and_goes_on_from_there(engine, problems, samples, tmp_path):
    """Ctrl-C: exit code 130, and the next call grades only what is left."""
    out = tmp_path / "out.jsonl"
    command = ("grade", problems, samples(("a", "pass"), ("b", "hold")), "--out", out, "--address", engine.address, "--json")
    process = start(*command)
    part = out.with_name("out.jsonl.part")
    _when_written(part)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert b"interrupted: 1 of 2 programs were graded; they are kept in" in stderr
    assert stdout == b""
    assert not out.exists()
    again = start(*command)
    again.send_signal(signal.SIGINT)
    again.communicate()
    assert [json.loads(line)["id"] for line in part.read_text().splitlines()] == ["a#0"]


def _when_written(path):
    """Returns once the file has a line."""
    while not (path.exists() and path.read_bytes().endswith(b"\n")):
        os.sched_yield()


def test_grade_tells_when_its_engine_is_killed(problems, samples, tmp_path):
    """What happened, what was graded, where it is kept; exit code 2."""
    out = tmp_path / "out.jsonl"
    with LocalEngine(command=FAKE) as engine:
        process = start("grade", problems, samples(("a", "pass"), ("b", "hold")), "--out", out, "--address", engine.address)
        _when_written(out.with_name("out.jsonl.part"))
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        _, stderr = process.communicate()
    assert process.returncode == 2
    assert b"went away after 1 of " in stderr
    assert b"1 of 2 programs were graded; they are kept in" in stderr
    assert b"and once that is mended the same command goes on from there" in stderr
    assert b"Traceback" not in stderr


def test_run_gives_out_what_the_program_wrote(call, engine, tmp_path):
    """And says on stderr what became of it."""
    (tmp_path / "program.py").write_text("echo: hello")
    code, stdout, stderr = call("run", tmp_path / "program.py", "--address", engine.address)
    assert (code, stdout) == (0, "hello")
    assert stderr.startswith("finished · ")


def test_run_prints_one_object(call, engine, tmp_path):
    """Every field of the report under its own name."""
    (tmp_path / "program.py").write_text("echo: hello")
    code, stdout, _ = call("run", tmp_path / "program.py", "--json", "--address", engine.address)
    report = json.loads(stdout)
    assert code == 0
    assert (report["id"], report["verdict"], report["stdout"]) == ("program.py", "finished", "hello")


def test_limits_that_are_named_take_the_place_of_the_engines():
    """And no others."""
    assert limits_of(["cpu_time_ms=500", "processes=1"]) == replace(ENGINE_DEFAULTS, cpu_time_ms=500, processes=1)
    assert limits_of(None) == ENGINE_DEFAULTS


@pytest.mark.parametrize(
    "option", ["cpu=5", "cpu_time_ms", "cpu_time_ms=", "cpu_time_ms=-5", "cpu_time_ms=0", "cpu_time_ms=1e3", "=5"]
)
def test_limits_that_are_none_are_one_line(fails, engine, tmp_path, option):
    (tmp_path / "program.py").write_text("pass")
    message = fails("run", tmp_path / "program.py", "--limit", option, "--address", engine.address)
    assert message.startswith(f"error: --limit {option}: ")


def test_the_version_is_that_of_the_package(call):
    assert call("--version") == (0, f"{metadata.version('rrtf')}\n", "")


def test_run_of_an_unknown_language(fails, engine, tmp_path):
    """Names those that there are."""
    (tmp_path / "program").write_text("")
    line = fails("run", tmp_path / "program", "--language", "cobol", "--address", engine.address)
    assert line == "error: unknown language 'cobol'; this engine runs python\n"


def test_bad_input_is_one_line_and_nothing_is_written(fails, engine, problems, samples, tmp_path):
    """Malformed problems, an unknown task, a file that is not there, nobody at the address, a place that cannot be written."""
    out = tmp_path / "out.jsonl"
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    with nobody() as address:
        lines = [
            fails("grade", broken, "gold", "--out", out, "--address", engine.address),
            fails("grade", problems, samples(("c", "pass")), "--out", out, "--address", engine.address),
            fails("grade", tmp_path / "absent", "gold", "--out", out, "--address", engine.address),
            fails("grade", problems, "gold", "--address", address),
            fails("grade", problems, "gold", "--out", tmp_path / "absent" / "out", "--address", engine.address),
            fails("run", tmp_path / "absent.py", "--address", engine.address),
        ]
    assert "broken.jsonl line 1: not JSON" in lines[0]
    assert "line 1: unknown task_id 'c'" in lines[1]
    assert "absent: no such file or directory; give the path of a file" in lines[2]
    assert "start one with: python -m engine serve" in lines[3]
    assert not list(tmp_path.glob("out*"))


def test_a_sample_file_that_is_not_there_may_have_been_meant_as_gold(fails, problems):
    """Both cures are named, and no engine is started."""
    assert fails("grade", problems, "golden") == "error: there is no file golden; give a file of samples, or the word gold\n"


@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_settings_that_cannot_be_read(fails, command, tmp_path):
    """Cause and cure in words, for whichever command takes them."""
    line = fails(command, "--config", tmp_path / "absent.toml")
    assert line == f"error: cannot read {tmp_path}/absent.toml: no such file or directory; name a TOML file\n"


def test_bench_knows_its_workloads_before_it_begins(fails, monkeypatch, tmp_path):
    """Neither an unknown name nor one without its file starts an engine: the line is all that is written."""
    monkeypatch.setenv("RRTF_DATA", str(tmp_path))
    assert fails("bench", "--workload", "trival") == "error: there is no workload 'trival'; did you mean 'trivial'?\n"
    line = fails("bench", "--workload", "humaneval")
    assert line.endswith("needs HumanEval.jsonl.gz; set RRTF_DATA to the folder that holds it\n")


def test_serve_refuses_a_bad_address_before_it_starts_anything(tmp_path):
    """One line, at once."""
    process = start("serve", "--listen", f"unix:{tmp_path}/absent/engine.sock")
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (2, b"")
    assert stderr.startswith(b"error: cannot listen at unix:")
    assert stderr.endswith(b"no such file or directory; make its folder or choose another address with --listen\n")
    assert stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", [(), ("serve",), ("run",), ("grade",)])
def test_help_teaches(call, command):
    """Each command explains itself; those that do something show how."""
    code, stdout, _ = call(*command, "--help")
    assert code == 0
    assert "Usage: python -m engine" in stdout
    assert not command or f"python -m engine {command[0]} " in stdout.split("\n", 1)[1]
