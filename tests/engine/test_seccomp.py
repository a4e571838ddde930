"""The system call filter, run instruction by instruction: what is listed is allowed, nothing else is, on both architectures."""

import errno
import socket
import struct
from importlib import resources

import pytest

from engine.jail.seccomp import ARCHITECTURES, cell_filter, memory_file_filter, slot_filter

ALLOW, DONE = "allow", "said to be done"
NAMESPACES = {
    "CLONE_NEWNS": 0x00020000,
    "CLONE_NEWCGROUP": 0x02000000,
    "CLONE_NEWUTS": 0x04000000,
    "CLONE_NEWIPC": 0x08000000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
}
THREAD_FLAGS = 0x003D0F00
FORBIDDEN = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155,
        "chroot": 161, "bpf": 321, "perf_event_open": 298, "keyctl": 250, "add_key": 248, "io_uring_setup": 425,
        "userfaultfd": 323, "init_module": 175, "kexec_load": 246, "shmget": 29, "msgget": 68, "semget": 64, "clock_settime": 227,
        "open_by_handle_at": 304, "pidfd_getfd": 438, "clone3": 435, "fsopen": 430, "open_tree": 428, "reboot": 169,
        "sendmsg": 46, "sendmmsg": 307, "tee": 276, "membarrier": 324, "pkey_alloc": 330, "futex_waitv": 449,
        "seccomp": 317, "inotify_init1": 294, "fanotify_init": 300, "timerfd_create": 283, "signalfd": 282, "signalfd4": 289,
        "openat2": 437, "timer_create": 222,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41,
        "chroot": 51, "bpf": 280, "perf_event_open": 241, "keyctl": 219, "add_key": 217, "io_uring_setup": 425,
        "userfaultfd": 282, "init_module": 105, "kexec_load": 104, "shmget": 194, "msgget": 186, "semget": 190,
        "clock_settime": 112, "open_by_handle_at": 265, "pidfd_getfd": 438, "clone3": 435, "fsopen": 430, "open_tree": 428,
        "sendmsg": 211, "sendmmsg": 269, "tee": 77, "membarrier": 283, "pkey_alloc": 289, "futex_waitv": 449,
        "seccomp": 277, "inotify_init1": 26, "fanotify_init": 262, "timerfd_create": 85, "signalfd4": 74, "openat2": 437,
        "timer_create": 107,
    },
}  # fmt: skip


SAID_TO_BE_DONE = {"fsync", "fdatasync", "sync_file_range", "msync", "fadvise64", "flock", "setsid"}
LOCKS = (6, 7, 37, 38)
"""F_{SETLK,SETLKW,OFD_SETLK,OFD_SETLKW}."""
BY_ARGUMENT = {"clone", "socket", "socketpair", "setsockopt", "getsockopt", "fcntl", "ioctl", "prctl", "setrlimit", "prlimit64"}
APART = SAID_TO_BE_DONE | BY_ARGUMENT


def run(program, number, *arguments, architecture):
    """What the kernel would do with this call: the instructions that seccomp has, interpreted."""
    arguments += (0,) * (6 - len(arguments))
    data = struct.pack("=iIQ6Q", number - (1 << 32) if number >= 1 << 31 else number, architecture, 0, *arguments)
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, operand = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (loaded,) = struct.unpack_from("=I", data, operand)
            case 0x15:
                at += if_true if loaded == operand else if_false
            case 0x35:
                at += if_true if loaded >= operand else if_false
            case 0x45:
                at += if_true if loaded & operand else if_false
            case 0x06:
                known = {0x7FFF0000: ALLOW, 0x00050000: DONE}
                return known.get(operand) or errno.errorcode[operand & 0xFFFF]
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


class Machine:
    def __init__(self, name):
        self.name = name
        self.facts = ARCHITECTURES[name]
        self.programs = slot_filter(name), cell_filter(name)

    def call(self, number, *arguments, audit=None):
        """The kernel runs all filters and takes the answer that refuses most."""
        architecture = self.facts.audit if audit is None else audit
        number = self.listed()[number] if isinstance(number, str) else number
        answers = {run(program, number, *arguments, architecture=architecture) for program in self.programs}
        refusals = answers - {ALLOW}
        return refusals.pop() if refusals else ALLOW

    def listed(self):
        """The numbers by name, read from the list as a person would read it."""
        lines = resources.files("engine.jail").joinpath("syscalls.txt").read_text().splitlines()
        rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
        return {row[0]: int(row[self.facts.column]) for row in rows if row[self.facts.column] != "-"}


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request):
    return Machine(request.param)


def test_what_is_listed_is_allowed_and_nothing_else_is_known(machine):
    """Every number up to a thousand, but for those that are decided by their arguments or said to be done."""
    numbers = set(machine.listed().values())
    apart = {machine.listed()[name] for name in APART}
    answers = {number: machine.call(number) for number in range(1_000) if number not in apart}
    assert {number for number, answer in answers.items() if answer == ALLOW} == numbers - apart
    assert {answer for number, answer in answers.items() if number not in numbers} == {"ENOSYS"}


def test_the_list_names_each_call_once(machine):
    listed = machine.listed()
    lines = resources.files("engine.jail").joinpath("syscalls.txt").read_text().splitlines()
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    assert len(names) == len(set(names))
    assert len(listed) == len(set(listed.values()))


def test_what_could_open_the_jail_is_refused(machine):
    assert {name: machine.call(number) for name, number in FORBIDDEN[machine.name].items()} == dict.fromkeys(
        FORBIDDEN[machine.name], "ENOSYS"
    )


@pytest.mark.parametrize("flag", NAMESPACES)
@pytest.mark.parametrize("others", [17, THREAD_FLAGS, 1 << 40])
def test_clone_makes_no_namespaces(machine, flag, others):
    assert machine.call("clone", NAMESPACES[flag] | others) == "EPERM"


def test_clone_makes_processes_and_threads(machine):
    assert machine.call("clone", 17) == ALLOW
    assert machine.call("clone", THREAD_FLAGS) == ALLOW


def test_clone3_is_unknown(machine):
    """Its flags lie in memory, where a filter cannot look; libraries fall back to clone."""
    assert machine.call(435) == "ENOSYS"


@pytest.mark.parametrize("call", ["socket", "socketpair"])
def test_sockets_are_local_ones(machine, call):
    """Also in pairs: the kernel makes both, and loads what it takes, before it says that there are no pairs of that family."""
    answers = {family: machine.call(call, family) for family in range(64)}
    assert {family for family, answer in answers.items() if answer == ALLOW} == {socket.AF_UNIX}
    assert {answer for family, answer in answers.items() if family != socket.AF_UNIX} == {"EAFNOSUPPORT"}


def test_what_would_reach_the_host_is_only_said_to_be_done(machine):
    """Files of the host are read-only in a cell, and can be flushed and locked all the same; sessions share out the processor."""
    assert {machine.call(name) for name in SAID_TO_BE_DONE} == {DONE}
    assert {machine.call("fcntl", 1, command) for command in LOCKS} == {DONE}


def test_of_commands_to_files_only_those_are_allowed_that_change_nothing_elsewhere(machine):
    """No signals to owners, leases, watches of folders."""
    allowed = {command for command in range(2_048) if machine.call("fcntl", 1, command) == ALLOW}
    assert allowed == {0, 1, 2, 3, 4, 5, 9, 11, 36, 1030, 1031, 1032, 1033, 1034}
    assert {machine.call("ioctl", 1, command) for command in (0x5401, 0x5412, 0xC020660B, 0x8901, 0x80045200)} == {"ENOTTY"}
    assert machine.call("ioctl", 1, 0x5421) == ALLOW


def test_neither_sockets_nor_processes_take_filters(machine):
    """Compiled ones lie in memory that all programs of the host share."""
    attaching = {"SO_ATTACH_FILTER": 26, "SO_ATTACH_BPF": 50, "SO_ATTACH_REUSEPORT_CBPF": 51, "SO_PEERPIDFD": 77}
    for call in ("setsockopt", "getsockopt"):
        assert {name: machine.call(call, 3, 1, option) for name, option in attaching.items()} == dict.fromkeys(
            attaching, "ENOPROTOOPT"
        )
        assert machine.call(call, 3, 1, socket.SO_REUSEADDR) == ALLOW
    assert (machine.call("prctl", 22, 2), machine.call("prctl", 35), machine.call("prctl", 15)) == ("EINVAL", "EINVAL", ALLOW)


def test_nothing_is_sent_out_of_band(machine):
    assert machine.call("sendto", 3, 4096, 1, 1) == "ENOTSUP"
    assert machine.call("sendto", 3, 4096, 1, 0x4000) == ALLOW


@pytest.mark.parametrize(("call", "flags"), [("open", 1), ("openat", 2), ("fcntl", 2)])
def test_nothing_is_read_from_the_disk_behind_the_cache(machine, call, flags):
    """Neither opened so nor made so later."""
    if call in machine.listed():
        direct = {"x86_64": 0x4000, "aarch64": 0x10000}[machine.name]
        before = (3, 4) if call == "fcntl" else (3,) * flags
        assert machine.call(call, *before, direct | 2) == "EINVAL"
        assert machine.call(call, *before, 0x802) == ALLOW
    assert machine.call("preadv2", 3, 4096, 1, 0, 0, 0x80) == "ENOTSUP"


@pytest.mark.parametrize("advice", [12, 20, 21, 25])
def test_nothing_is_advised_about_pages_that_others_use(machine, advice):
    """To merge them, to put them away, to make huge ones of them."""
    assert machine.call("madvise", 4096, 4096, advice) == "EINVAL"


def test_pages_are_not_huge(machine):
    """Huge ones are in no memory account."""
    assert machine.call("mmap", 0, 1 << 21, 3, 0x40022) == "ENOMEM"
    assert machine.call("memfd_create", 1, 5) == "EINVAL"
    assert (machine.call("mmap", 0, 1 << 21, 3, 0x22), machine.call("memfd_create", 1, 3)) == (ALLOW, ALLOW)
    assert machine.call("madvise", 4096, 4096, 4) == ALLOW


@pytest.mark.parametrize("address", [1, 1 << 32, 0xFFFF_0000_0000])
def test_the_limit_of_cores_can_be_asked_for_and_not_set(machine, address):
    assert machine.call("prlimit64", 0, 4, address) == "EPERM"
    assert (machine.call("prlimit64", 0, 4, 0), machine.call("prlimit64", 0, 7, address)) == (ALLOW, ALLOW)
    assert (machine.call("setrlimit", 4), machine.call("setrlimit", 7)) == ("EPERM", ALLOW)


@pytest.mark.parametrize("audit", [0x40000003, 0x40000028, 0, 0xFFFFFFFF])
def test_a_call_of_another_architecture_is_unknown(machine, audit):
    """32-bit x86 and ARM calls have other numbers, so none is let through."""
    assert {machine.call(number, audit=audit) for number in range(500)} <= {"ENOSYS", DONE}


def test_each_machine_takes_the_other_for_foreign():
    x86, arm = Machine("x86_64"), Machine("aarch64")
    assert x86.call(0, audit=arm.facts.audit) == "ENOSYS"
    assert arm.call(0, audit=x86.facts.audit) == "ENOSYS"


@pytest.mark.parametrize("number", [0x40000000, 0x40000001, 0x40000208, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_numbers_beyond_the_table_are_unknown(machine, number):
    """x32 calls have the bit 0x40000000, and -1 is what a tracer skips a call with."""
    assert machine.call(number) == "ENOSYS"


def test_the_filter_is_short(machine):
    """The kernel takes 4096 instructions, and a search among hundreds of calls passes few of them."""
    of_slot, of_cell = machine.programs
    assert len(of_slot) % 8 == len(of_cell) % 8 == 0
    assert len(of_slot) // 8 < 512
    assert len(of_cell) // 8 < 13


def test_memory_files_that_could_be_executed_are_refused(machine):
    """By the flag that asks for it; where the kernel cannot keep the others from it, all of them."""
    assert (machine.call("memfd_create", 1, 0x10), machine.call("memfd_create", 1, 8)) == ("EINVAL", ALLOW)
    program, number = memory_file_filter(machine.name), machine.listed()["memfd_create"]
    answers = [run(program, call, architecture=machine.facts.audit) for call in (number - 1, number, number + 1)]
    assert answers == [ALLOW, "ENOSYS", ALLOW]


def test_an_unknown_machine_has_no_filter():
    for program in (slot_filter, cell_filter, memory_file_filter):
        with pytest.raises(KeyError):
            program("vax")


def test_a_slot_closes_cells_off_and_a_cell_opens_nothing(machine):
    """The zygote has only the first filter."""
    of_slot, _ = machine.programs
    for call in machine.facts.closing_off:
        assert run(of_slot, call, architecture=machine.facts.audit) == ALLOW
        assert machine.call(call) == "ENOSYS"
