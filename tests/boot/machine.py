"""A Debian root file system with our package in it, booted with systemd as its first process. Needs root and systemd-nspawn; no KVM."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PACKAGES = "systemd,systemd-sysv,dbus,udev,python3,iproute2,libpam-systemd,tzdata,libstdc++6"
# A control group tree of version 2, so that systemd inside can enforce its limits on devices and addresses. The terminal is needed:
# on a pipe nspawn halts itself.
BOOT = """umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/{name}; echo $$ > /sys/fs/cgroup/{name}/cgroup.procs
exec script -qefc "systemd-nspawn --register=no --keep-unit --private-network --machine={name} --capability=all \
--system-call-filter=bpf -D {root} --boot" {root}.log"""


def root_file_system(cached: Path, root: Path) -> None:
    """Debian 12 in ``root``; the tar is made once."""
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        made = cached.with_suffix(".new")
        command = ["mmdebstrap", "--quiet", "--format=tar", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(made)]
        subprocess.run(command, check=True)
        made.replace(cached)
    root.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(root), "-xf", str(cached), "--exclude=./dev/*"], check=True)


def in_chroot(root: Path, *command: str) -> str:
    """Run in the tree as an image builder does; dpkg's scripts want /proc."""
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    try:
        done = subprocess.run(["chroot", str(root), *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
    finally:
        subprocess.run(["umount", str(root / "proc")], check=True)


class Machine:
    """A booted tree; enter it with :meth:`run`."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root, self._enter = root, ["nsenter", "-t", str(leader), "-a"]

    def run(self, *command: str, check: bool = True, timeout_s: float = 120.0) -> str:
        """Stdout and stderr of a command inside."""
        done = subprocess.run([*self._enter, *command], capture_output=True, text=True, check=False, timeout=timeout_s)
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


@contextmanager
def booted(root: Path, name: str = "sonosweep-boot-test"):
    """Boot; at the end switch off."""
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
        machine.run("systemctl", "poweroff", check=False)
        outer.wait(60)
    finally:
        if outer.poll() is None:
            for pid in _descendants(outer.pid):
                if Path(f"/proc/{pid}/comm").read_text().startswith("systemd-nspawn"):
                    subprocess.run(["kill", f"-{signal.SIGKILL:d}", str(pid)], check=False)
            outer.wait(20)
        shutil.rmtree(root, ignore_errors=True)


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(deeper for child in children for deeper in _descendants(child))]


def _leader(outer: subprocess.Popen[bytes], root: Path) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for pid in _descendants(outer.pid):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                return pid
        assert outer.poll() is None, Path(f"{root}.log").read_text()
        time.sleep(0.05)
    raise AssertionError(f"no systemd in the container: {Path(f'{root}.log').read_text()}")


def _until_answers(machine: Machine) -> None:
    deadline = time.monotonic() + 60
    while machine.run("systemctl", "is-system-running", check=False).strip() not in ("running", "degraded"):
        assert time.monotonic() < deadline, machine.run("systemctl", "list-jobs", check=False)
        time.sleep(0.2)
