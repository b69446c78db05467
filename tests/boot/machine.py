"""A Debian root file system with our package in it, booted with systemd as its first process. Needs root and systemd-nspawn; no KVM."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000
PACKAGES = "systemd,systemd-sysv,dbus,udev,python3,iproute2,libpam-systemd,tzdata,libstdc++6"
# A control group tree of version 2, so that systemd inside can enforce its limits on devices and addresses. The terminal is needed:
# on a pipe nspawn halts itself.
BOOT = """umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/{name}; echo $$ > /sys/fs/cgroup/{name}/cgroup.procs
exec script -qefc "systemd-nspawn --register=no --keep-unit --private-network --machine={name} --capability=all \
--system-call-filter=bpf -D {root} --boot" {root}.log"""


# As BOOT begins; some virtual machines and all containers of others keep even root from it.
TRIAL = "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && mkdir /sys/fs/cgroup/trial && rmdir /sys/fs/cgroup/trial"


def hindrance() -> str:
    """Why nothing can be booted here; empty where it can."""
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", TRIAL], capture_output=True, text=True, check=False
    )
    return "; ".join(done.stderr.split("\n")).strip("; ") or "no reason given" if done.returncode else ""


def root_file_system(cached: Path, root: Path, architecture: str) -> None:
    """Debian 12 in ``root``; the tar is made once."""
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        made = cached.with_suffix(".new")
        command = ["mmdebstrap", "--quiet", f"--architectures={architecture}", "--format=tar", "--variant=minbase"]
        subprocess.run([*command, f"--include={PACKAGES}", "bookworm", str(made)], check=True)
        made.replace(cached)
    root.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(root), "-xf", str(cached), "--exclude=./dev/*"], check=True)


class Machine:
    """A booted tree; enter it with :meth:`run`."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root, self.leader, self.enter = root, leader, ["nsenter", "-t", str(leader), "-a"]

    def run(self, *command: str, check: bool = True, timeout_s: float = 120.0) -> str:
        """Stdout and stderr of a command inside."""
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False, timeout=timeout_s)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        said = self.run("systemctl", "show", unit, "-p", ",".join(names))
        return dict(line.split("=", 1) for line in said.splitlines())

    def number(self, unit: str, name: str) -> int:
        """A property that is a number."""
        return int(self.show(unit, name)[name])

    def wait_active(self, units: list[str], timeout_s: float) -> None:
        """Until systemd says of all that they are ready."""
        deadline = time.monotonic() + timeout_s
        while self.run("systemctl", "is-active", *units, check=False).split() != ["active"] * len(units):
            if time.monotonic() > deadline:
                raise AssertionError(self.run("systemctl", "status", "--no-pager", *units, check=False) + self.journal())
            time.sleep(0.1)

    def journal(self) -> str:
        """The last of what the services said."""
        return self.run("journalctl", "-b", "-u", "sonosweep*", "--no-pager", "-n", "80", check=False)

    def in_its_network(self, work: Callable[[], Any]) -> Any:
        """``work()`` in a thread whose sockets are the machine's: as a tablet beside it."""
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(self._from_within, work).result()

    def _from_within(self, work: Callable[[], Any]) -> Any:
        network = os.open(f"/proc/{self.leader}/ns/net", os.O_RDONLY)
        try:
            assert ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        finally:
            os.close(network)
        return work()


@contextmanager
def booted(root: Path, name: str = "sonosweep-boot-test") -> Iterator[Machine]:
    """Boot; at the end switch off, unless the test has killed it (:func:`power_cut`). The tree stays."""
    script = BOOT.format(name=name, root=root)
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    outer = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        leader = _leader(outer, root)
        machine = Machine(root, leader)
        _until_answers(machine)
        yield machine
        if Path(f"/proc/{leader}").exists():
            machine.run("systemctl", "poweroff", check=False)
        outer.wait(60)
    finally:
        if outer.poll() is None:
            for pid in _descendants(outer.pid):
                if _program(pid).startswith("systemd-nspawn"):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            outer.wait(20)


def power_cut(machine: Machine) -> None:
    """All processes of the machine end at once: its first one is killed from outside. What was written is on the disk."""
    os.kill(machine.leader, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(deeper for child in children for deeper in _descendants(child))]


def _program(pid: int) -> str:
    """Its name; empty where it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _leader(outer: subprocess.Popen[bytes], root: Path) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for pid in _descendants(outer.pid):
            if _program(pid) == "systemd":
                return pid
        assert outer.poll() is None, Path(f"{root}.log").read_text()
        time.sleep(0.05)
    raise AssertionError(f"no systemd in the container: {Path(f'{root}.log').read_text()}")


def _until_answers(machine: Machine) -> None:
    deadline = time.monotonic() + 60
    while machine.run("systemctl", "is-system-running", check=False).strip() not in ("running", "degraded"):
        assert time.monotonic() < deadline, machine.run("systemctl", "list-jobs", check=False)
        time.sleep(0.2)
