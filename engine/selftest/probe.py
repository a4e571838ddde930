"""The healthy program: looks for what an abuse might have left and uses a little of what it might have used up.

Runs in the jail, as a program of its own. Echoes its input where all is well.
"""

import fcntl
import os
import resource
import signal
import socket
import stat
import threading

LOOPS = 200_000
"""About 10 ms of work, so that times can be compared."""


def nothing_is_left() -> None:
    assert os.listdir(".") == os.listdir("/dev/shm") == []
    assert [name for name in os.listdir("/proc") if name.isdigit()] == [str(os.getpid())]
    assert all(signal.getsignal(number) is signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGXCPU))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    for fd in (0, 1, 2):
        assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o666
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(b"\0left-behind")


def everything_is_there() -> None:
    assert len(bytearray(os.urandom(1)) * (16 << 20)) == 16 << 20
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 32
    files = [open(f"file-{number}", "wb") for number in range(32)]
    assert all(file.write(bytes(1000)) for file in files)
    threads = [threading.Thread(target=file.close) for file in files[:8]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if child == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


nothing_is_left()
everything_is_there()
total = 0
for number in range(LOOPS):
    total += number
assert total == LOOPS * (LOOPS - 1) // 2
print(input())
