"""Where groups can be made, told from the text of /proc and from folders; with real groups, what they bound, count and leave."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jail.cgroups import PREFIX, EngineGroups, Hierarchy, find_hierarchy, read_mounts, read_own_groups, sweep
from engine.records import MIB

ROOT = Path(__file__).parents[2]

HYBRID = """\
proc /proc proc rw,nosuid 0 0
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,nosuid,pids 0 0
"""
VERSION_2 = "/dev/sda1 / ext4 rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n"


# From text


def test_a_hybrid_host_has_both_versions():
    """Each controller where it is mounted, two that share a mount by either name, and version 2 by the empty name."""
    mounts = read_mounts(HYBRID)
    names = ("", "memory", "pids", "cpu", "cpuacct", "name=systemd")
    found = {name: str(mounts[name]).removeprefix("/sys/fs/cgroup/") for name in names}
    assert found == {
        "": "unified",
        "memory": "memory",
        "pids": "pids",
        "cpu": "cpu,cpuacct",
        "cpuacct": "cpu,cpuacct",
        "name=systemd": "systemd",
    }


def test_a_host_of_version_2_has_one_mount():
    assert read_mounts(VERSION_2) == {"": Path("/sys/fs/cgroup")}


def test_other_file_systems_are_no_cgroups():
    """Whatever their options or places are called."""
    assert read_mounts("memory /sys/fs/cgroup/memory tmpfs rw,memory,pids 0 0\nx /cgroup2 ext4 cgroup2 0 0\n") == {}


def test_the_groups_of_a_process():
    """By controller; those that share a line share the path, which may hold anything."""
    text = "12:cpu,cpuacct:/user.slice\n3:memory:/a:b/c d\n2:pids:/\n1:name=systemd:/init.scope\n0::/user.slice/x.scope\n"
    assert read_own_groups(text) == {
        "cpu": "/user.slice",
        "cpuacct": "/user.slice",
        "memory": "/a:b/c d",
        "pids": "/",
        "name=systemd": "/init.scope",
        "": "/user.slice/x.scope",
    }


def test_a_process_of_version_2_has_one_group():
    assert read_own_groups("0::/system.slice/engine.service\n") == {"": "/system.slice/engine.service"}


# From folders


def version_1(folder, *controllers):
    """Mounts of version 1 below a folder."""
    mounts = {controller: folder / controller for controller in controllers}
    for mount in mounts.values():
        mount.mkdir()
    return mounts


def version_2(folder, controllers="cpu io memory pids", handed_on="", processes=""):
    """A group of version 2 as its files show it. What is written to them stays written, unlike in a real one."""
    folder.mkdir(exist_ok=True)
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text(handed_on)
    (folder / "cgroup.procs").write_text(processes)
    return {"": folder}


def test_version_1_is_the_engines_own_group(tmp_path):
    """Below each mount, for each controller that is needed, and where the process is."""
    mounts = version_1(tmp_path, "memory", "pids", "cpuacct", "freezer")
    (tmp_path / "memory" / "own").mkdir()
    found = find_hierarchy(mounts, {"memory": "/own", "pids": "/", "freezer": "/x"})
    folders = {"memory": tmp_path / "memory/own", "pids": tmp_path / "pids", "cpuacct": tmp_path / "cpuacct"}
    assert found == Hierarchy(1, folders)


def test_a_group_that_a_container_hides_is_the_mount(tmp_path):
    """There, /proc speaks of a path of the host's that does not exist."""
    found = find_hierarchy(version_1(tmp_path, "memory", "pids", "cpuacct"), {"memory": "/docker/0123abcd"})
    assert isinstance(found, Hierarchy)
    assert found.folders["memory"] == tmp_path / "memory"


def test_version_1_goes_before_version_2(tmp_path):
    """A hybrid host has its controllers in version 1, and then version 2 has none to hand on."""
    mounts = version_1(tmp_path, "memory", "pids", "cpuacct") | version_2(tmp_path / "unified")
    found = find_hierarchy(mounts, {})
    assert isinstance(found, Hierarchy)
    assert found.version == 1


def test_looking_leaves_nothing_behind(tmp_path):
    """The probe that shows whether groups can be made is taken away again."""
    find_hierarchy(version_1(tmp_path, "memory", "pids", "cpuacct"), {})
    assert [entry for folder in tmp_path.iterdir() for entry in folder.iterdir()] == []


def test_groups_that_cannot_be_made_are_a_reason(tmp_path):
    """In one hierarchy is enough."""
    mounts = version_1(tmp_path, "memory", "pids", "cpuacct")
    mounts["cpuacct"].rmdir()
    assert find_hierarchy(mounts, {}) == f"no permission to make groups in {tmp_path / 'memory'}"


@pytest.mark.parametrize("controllers", [(), ("memory", "pids"), ("pids", "cpuacct")])
def test_no_cgroups_are_a_reason(tmp_path, controllers):
    """Also where version 1 lacks what is needed and version 2 is not mounted."""
    assert find_hierarchy(version_1(tmp_path, *controllers), {}) == "no cgroup file system is mounted"


@pytest.mark.parametrize(
    ("offered", "missing"), [("", "memory and pids"), ("cpu io", "memory and pids"), ("memory", "pids"), ("pids", "memory")]
)
def test_version_2_names_the_controllers_that_it_lacks(tmp_path, offered, missing):
    assert find_hierarchy(version_2(tmp_path, offered), {}) == f"{tmp_path} does not offer the controllers {missing}"


def test_version_2_may_be_shared_with_other_processes(tmp_path):
    """Then its controllers cannot be handed on: the kernel lets no group with processes do so."""
    mounts = version_2(tmp_path, processes=f"{os.getpid()}\n1\n")
    assert find_hierarchy(mounts, {}) == f"{tmp_path} holds other processes, so it cannot hand its controllers on"
    assert not (tmp_path / f"{PREFIX}self").exists()


def test_both_places_of_version_2_give_their_reason(tmp_path):
    """The process's own group first, then the mount."""
    mounts = version_2(tmp_path, "memory")
    version_2(tmp_path / "own", processes="1\n")
    found = find_hierarchy(mounts, {"": "/own"})
    assert found == (
        f"{tmp_path / 'own'} holds other processes, so it cannot hand its controllers on; "
        f"{tmp_path} does not offer the controllers pids"
    )


def test_an_engine_alone_in_its_group_makes_room(tmp_path):
    """It moves into a leaf of its own, and the group hands its controllers on."""
    mounts = version_2(tmp_path, "memory pids", processes=f"{os.getpid()}\n")
    assert find_hierarchy(mounts, {}) == Hierarchy(2, {"memory": tmp_path})
    assert (tmp_path / f"{PREFIX}self/cgroup.procs").read_text() == str(os.getpid())
    assert (tmp_path / "cgroup.subtree_control").read_text().split() == ["+memory", "+pids"]


def test_below_a_group_of_cores_each_slot_has_a_share(tmp_path):
    """No group but the root one has sessions share the cores, so a crowd in one slot would leave the others next to nothing."""
    mounts = version_1(tmp_path, "memory", "pids", "cpuacct", "cpu")
    (tmp_path / "cpu" / "cpu.shares").write_text("1024")
    found = find_hierarchy(mounts, {})
    assert isinstance(found, Hierarchy)
    assert found.folders["cpu"] == tmp_path / "cpu"


def test_in_version_2_the_cores_are_handed_on_where_the_group_has_a_weight(tmp_path):
    mounts = version_2(tmp_path, processes=f"{os.getpid()}\n")
    (tmp_path / "cpu.weight").write_text("100")
    assert find_hierarchy(mounts, {}) == Hierarchy(2, {"memory": tmp_path})
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu "


def test_a_hierarchy_goes_down_in_all_its_folders():
    hierarchy = Hierarchy(1, {"memory": Path("/m"), "pids": Path("/p")})
    assert hierarchy.below("a").below("b") == Hierarchy(1, {"memory": Path("/m/a/b"), "pids": Path("/p/a/b")})


@contextlib.contextmanager
def somebody():
    """A process that stays until it is told to go."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield process


NAMESPACE = Path("/proc/self/ns/pid").stat().st_ino


def start_time(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


@pytest.mark.parametrize(
    "name",
    [
        f"{PREFIX}{{pid}}-{{start}}-{NAMESPACE}",
        f"{PREFIX}{{pid}}-{{start}}-{NAMESPACE}-probe",
        f"{PREFIX}{{pid}}-{{start}}-1",
        f"{PREFIX}{{pid}}-1-1",
        f"{PREFIX}4194304-1-1",
        f"{PREFIX}self",
        f"{PREFIX}",
        "4194304-1",
        "other-4194304-1",
        "engine",
    ],
)
def test_groups_of_living_engines_and_of_others_are_let_be(tmp_path, name):
    """Nobody in them is killed, and nothing in them is looked at."""
    with somebody() as process:
        folder = tmp_path / name.format(pid=process.pid, start=start_time(process.pid))
        (folder / "slot-0").mkdir(parents=True)
        (folder / "slot-0" / "cgroup.procs").write_text(f"{process.pid}\n")
        (folder / "cgroup.procs").write_text(f"{process.pid}\n")
        assert sweep({"memory": tmp_path, "pids": tmp_path}) == []
        assert process.poll() is None
        process.communicate(b"\n")
    assert process.returncode == 0
    assert (folder / "slot-0").is_dir()


def test_what_cannot_be_removed_stays_and_is_not_told(tmp_path):
    """A folder that is no group, as here, has no list of processes to end."""
    folder = tmp_path / "a" / f"{PREFIX}4194304-1-{NAMESPACE}"
    folder.mkdir(parents=True)
    assert sweep({"": tmp_path}) == []
    assert folder.is_dir()


def test_a_process_of_another_namespace_in_a_dead_engine_s_group_is_no_order_to_kill_oneself(tmp_path):
    """Version 2 lists such a process as 0, and signals to 0 go to one's own process group."""
    folder = tmp_path / f"{PREFIX}4194304-1-{NAMESPACE}"
    folder.mkdir()
    (folder / "cgroup.procs").write_text("0\n")
    assert sweep({"": tmp_path}) == []


def test_sweeping_where_nothing_is_mounted(tmp_path):
    assert sweep({}) == sweep({"memory": tmp_path / "missing"}) == []


# Real groups


JOIN = "import os, sys\nfor file in sys.argv[1:]:\n    open(file, 'w').write(str(os.getpid()))\n"
STAY = "print('here', flush=True)\ninput()\n"


@pytest.fixture
def hierarchy():
    """A place of its own among the host's groups."""
    found = find_hierarchy()
    if isinstance(found, str):
        pytest.skip(found)
    own = found.below(f"rrtf-test-{os.getpid()}")
    for folder in own.folders.values():
        folder.mkdir()
        if own.version == 2:
            (folder / "cgroup.subtree_control").write_text("+memory +pids")
    yield own
    for folder in own.folders.values():
        for inner, _, _ in folder.walk(top_down=False):
            inner.rmdir()


@pytest.fixture
def groups(hierarchy):
    made = EngineGroups(hierarchy)
    yield made
    made.close()


@contextlib.contextmanager
def inside(group, program=STAY):
    """A process in a group."""
    command = [sys.executable, "-c", JOIN + program, *map(str, group.entrances)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process
        process.kill()


def said(process):
    return process.stdout.readline().decode().strip()


def answer(process):
    process.stdin.write(b"\n")
    process.stdin.flush()


def limit_of(hierarchy, group):
    """What the kernel says that the group may use: bytes and processes."""
    memory, pids = (hierarchy.folders.get(name, hierarchy.folders["memory"]) for name in ("memory", "pids"))
    below = group.entrances[0].parent.relative_to(hierarchy.folders["memory"])
    file = "memory.max" if hierarchy.version == 2 else "memory.limit_in_bytes"
    return int((memory / below / file).read_text()), int((pids / below / "pids.max").read_text())


@pytest.mark.jail
def test_limits_are_the_kernels(hierarchy, groups):
    """Upwards and downwards, one of them or both."""
    group = groups.slot(0)
    for memory_bytes, processes in ((64 * MIB, 8), (64 * MIB, 9), (128 * MIB, 9), (32 * MIB, 4), (32 * MIB, 4)):
        group.limit(memory_bytes, processes)
        assert limit_of(hierarchy, group) == (memory_bytes, processes)
    group.close()


@pytest.mark.jail
def test_readings_count_what_is_inside(groups):
    """Memory of the processes now and at most, and how many there are; nothing was refused yet."""
    group = groups.slot(0)
    with inside(group, f"data = bytearray({24 * MIB})\nprint('much', flush=True)\ninput()\ndel data\n{STAY}") as process:
        assert said(process) == "much"
        much = group.read()
        answer(process)
        assert said(process) == "here"
        little = group.read()
        assert group.processes() == 1
    assert much.memory_bytes > 24 * MIB
    assert little.memory_bytes < much.memory_bytes - 16 * MIB
    assert little.peak_memory_bytes >= much.memory_bytes
    assert (little.oom_kills, little.refused_forks) == (0, 0)
    group.close()


@pytest.mark.jail
def test_a_peak_can_be_forgotten(groups):
    """Where the kernel can; else it stays that of the group's life."""
    group = groups.slot(0)
    with inside(group, f"data = bytearray({24 * MIB})\ndel data\n{STAY}") as process:
        assert said(process) == "here"
        before = group.read()
        group.reset_peak()
        after = group.read()
    assert before.peak_memory_bytes > 24 * MIB
    assert after.peak_memory_bytes in (before.peak_memory_bytes, pytest.approx(after.memory_bytes, abs=8 * MIB))
    group.close()


@pytest.mark.jail
def test_cpu_time_is_metered(hierarchy, groups):
    """In the file that a slot's zygote reads."""
    group = groups.slot(0)
    with inside(group, f"import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass\n{STAY}") as process:
        assert said(process) == "here"
        text = group.cpu_meter.read_text()
    used_ns = int(text.split()[1]) * 1000 if hierarchy.version == 2 else int(text)
    assert used_ns > 50_000_000
    group.close()


@pytest.mark.jail
def test_too_much_memory_is_killed_and_counted(groups):
    group = groups.slot(0)
    group.limit(32 * MIB, 8)
    with inside(group, f"data = bytearray({96 * MIB})\n{STAY}") as process:
        assert said(process) == ""
        assert process.wait() == -9
        assert group.read().oom_kills == 1
        assert group.read().memory_refusals > 0
    group.close()


@pytest.mark.jail
def test_too_many_processes_are_refused_and_counted(groups):
    group = groups.slot(0)
    group.limit(64 * MIB, 2)
    program = f"pids = []\ntry:\n    for _ in range(9): pids.append(os.fork() or os._exit(0))\nexcept OSError: pass\n{STAY}"
    with inside(group, program) as process:
        assert said(process) == "here"
        assert group.read().refused_forks >= 1
    group.close()


@pytest.mark.jail
def test_a_new_group_of_a_slot_ends_what_the_old_one_left(groups):
    """Its counts start anew."""
    old = groups.slot(3)
    with inside(old) as process:
        assert said(process) == "here"
        new = groups.slot(3)
        assert process.wait() == -9
        assert (new.processes(), new.read().oom_kills) == (0, 0)
    new.close()
    old_folders = [entrance.parent for entrance in old.entrances]
    assert not any(folder.exists() for folder in old_folders)


@pytest.mark.jail
def test_closing_removes_slots_too(hierarchy):
    """With whoever is in them."""
    groups = EngineGroups(hierarchy)
    with inside(groups.slot(0)) as process:
        assert said(process) == "here"
        groups.close()
        assert process.wait() == -9
    assert [entry for folder in hierarchy.folders.values() for entry in folder.iterdir() if entry.is_dir()] == []


@pytest.mark.jail
@pytest.mark.parametrize("before", [0, 64])
def test_where_many_groups_end_they_take_what_they_read_with_them(groups, tmp_path, before):
    """The kernel keeps a group for as long as such pages; few may stay, so that libraries are not read anew for each slot."""
    for _ in range(before):
        groups.slot(0).close()
    group, file = groups.slot(0), tmp_path / "read"
    with inside(group, f"file = open({str(file)!r}, 'wb', 0)\nfile.write(bytes(1 << 20))\nos.fsync(file)\n{STAY}") as process:
        assert said(process) == "here"
    group.close()
    with file.open("rb") as again:
        try:
            is_there = os.preadv(again.fileno(), [bytearray(1 << 20)], 0, os.RWF_NOWAIT) > 0
        except BlockingIOError:
            is_there = False
    assert is_there is (before == 0)


@pytest.mark.jail
def test_engines_of_one_process_do_not_touch_each_other(hierarchy, groups):
    """The second one begins and ends while somebody is in a slot of the first one."""
    with inside(groups.slot(0)) as process:
        assert said(process) == "here"
        other = EngineGroups(hierarchy)
        other.slot(0)
        other.close()
        assert process.poll() is None


@pytest.mark.jail
def test_groups_of_a_dead_engine_are_swept(hierarchy, groups):
    """With whoever is in them; the living engine beside it keeps its groups and its processes."""
    living = groups.slot(0)
    engine = (
        "import sys\nfrom pathlib import Path\nfrom engine.jail.cgroups import EngineGroups, Hierarchy\n"
        f"folders = dict(zip({list(hierarchy.folders)!r}, map(Path, sys.argv[1:])))\n"
        f"group = EngineGroups(Hierarchy({hierarchy.version}, folders)).slot(0)\n"
        "print(*group.entrances, sep='\\n')\n"
    )
    folders = [str(folder) for folder in hierarchy.folders.values()]
    ran = subprocess.run([sys.executable, "-c", engine, *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    entrances = [Path(line) for line in ran.stdout.splitlines()]
    command = [sys.executable, "-c", JOIN + STAY, *map(str, entrances)]
    with inside(living) as neighbour, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as orphan:
        assert said(neighbour) == said(orphan) == "here"
        assert sweep(hierarchy.folders) == [entrances[0].parents[1].name]
        assert orphan.wait() == -9
        assert neighbour.poll() is None
        assert living.processes() == 1
    assert not any(entrance.parents[1].exists() for entrance in entrances)
    living.close()


@pytest.mark.jail
def test_a_pid_that_was_given_anew_is_not_the_engine(hierarchy):
    """An engine is who has its number and began when it did."""
    name = f"{PREFIX}{os.getpid()}-1-{NAMESPACE}"
    for folder in hierarchy.folders.values():
        (folder / name / "slot-0").mkdir(parents=True)
    assert sweep(hierarchy.folders) == [name]
    assert not any((folder / name).exists() for folder in hierarchy.folders.values())
