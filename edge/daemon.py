"""What every service is: one step, repeated until SIGTERM or SIGINT, with systemd told what is true.

The watchdog is kicked by the loop itself, so a step that hangs starves it and systemd restarts the service. Protocol:
sd_notify(3). Tried on systemd 249 to 255.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from edge.errors import SonosweepError

FIRST_LISTENED = 3  # SD_LISTEN_FDS_START


class AlreadyRunning(SonosweepError):
    """Another process of this service owns the run directory."""


def notify(*lines: str) -> bool:
    """Tell systemd READY=1, STATUS=..., WATCHDOG=1, STOPPING=1; False where no systemd listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.connect(address)
        out.sendall("\n".join(lines).encode())
    return True


def logs_to_journal() -> bool:
    """Whether stderr is the journal's own stream: systemd names its device and inode in JOURNAL_STREAM."""
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM", "") == f"{stream.st_dev}:{stream.st_ino}"


def memory_mib() -> float:
    """What this process holds in memory (its resident set)."""
    return round(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def listen_sockets() -> dict[str, socket.socket]:
    """The sockets that a .socket unit handed to this process, by FileDescriptorName=; sd_listen_fds(3)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    sockets = {}
    for at in range(int(os.environ.get("LISTEN_FDS", "0"))):
        os.set_inheritable(FIRST_LISTENED + at, False)
        sockets[names[at] if at < len(names) and names[at] else str(at)] = socket.socket(fileno=FIRST_LISTENED + at)
    return sockets


def serve(step: Callable[[], None], *, status: Callable[[], str] = lambda: "running", over: Callable[[], bool] = lambda: False) -> bool:
    """Call ``step`` (which returns within a second) until SIGTERM, SIGINT or ``over``; True where it was a signal."""
    stop = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal stop
        stop = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        notify("READY=1", f"STATUS={status()}")
        told = time.monotonic()
        while not stop and not over():
            step()
            if time.monotonic() - told > 0.5:
                notify("WATCHDOG=1", f"STATUS={status()}")
                told = time.monotonic()
        notify("STOPPING=1")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return stop


def ask_for_real_time(priority: int) -> bool:
    """Before all that is not real time (SCHED_FIFO), threads begun later not; False where that is refused, and all goes on as before."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError:
        return False
    return True


@contextmanager
def sole(run_dir: Path, service: str) -> Iterator[None]:
    """Hold the lock of ``service`` in the run directory; the kernel frees it even after kill -9."""
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    with (run_dir / f"{service}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"{service.lstrip('.')} is already running in {run_dir}; stop it first or use another folder") from None
        yield
