"""The generic image in full system emulation (TCG): a kernel of its own, every limit enforced. Not in CI: minutes. `make qemu-test`."""

import base64
import shutil
import socket
import subprocess
import time

import image
import numpy as np
import pytest
from boot.tablet import play, sweep_and_save
from boot.test_boot import UNITS

from edge.app import main
from edge.console import say
from edge.files.volumes import read_volume

PORT = 18443
RATE = 0.05  # of the sweep's 30 images a second: an emulated processor takes 0.4 to 1 s to place one
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "qemu-system-aarch64": "qemu-system-arm", "cpio": "cpio", "mke2fs": "e2fsprogs"}
BOOT_S, PATIENCE_S = {"amd64": 30.0, "arm64": 15.0}, 900  # arm64, in its own time: 8.9; it costs twice what amd64 does
# A shell on the second serial line, for the test alone: a line is a command, its answer ends with its exit status.
LINE = {"amd64": "/dev/ttyS1", "arm64": "/dev/ttyS0"}  # the first of that board is of another kind
SHELL = """#!/bin/sh
stty -F {line} raw -echo clocal
exec <{line} >{line} 2>/dev/console
echo hello
while read -r line; do sh -c "$line" </dev/null; echo "<<$?>>"; done
"""
SHELL_UNIT = """[Unit]
DefaultDependencies=no
After=local-fs.target
[Service]
ExecStart=/opt/serial-shell
[Install]
WantedBy=sysinit.target
"""


class Emulated:
    """The machine as the tests want one: ``run``."""

    def __init__(self, line):
        self._line, self._heard = line, b""
        self._until(b"hello\n")

    def run(self, *command, check=True):
        self._line.sendall((" ".join(command) + "\n").encode())
        said, status = self._until(b">>\n").rsplit("<<", 1)
        assert not check or int(status) == 0, (command, said)
        return said

    def fetch(self, path, target):
        """A file of the machine."""
        target.write_bytes(base64.b64decode(self.run("base64", "-w0", path)))

    def _until(self, end):
        while end not in self._heard:
            piece = self._line.recv(4096)
            assert piece, "the machine is gone"
            self._heard += piece
        said, _, self._heard = self._heard.partition(end)
        return said.decode(errors="replace")


@pytest.fixture(scope="module")
def disk(request, architecture, tmp_path_factory):
    for program in (image.MACHINES[architecture].qemu, "cpio", "mke2fs"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: sudo apt install {PROGRAMS[program]}")
    tree = request.getfixturevalue("tree")  # only now: it takes minutes
    out = tmp_path_factory.mktemp("image")
    (tree / "opt/serial-shell").write_text(SHELL.format(line=LINE[architecture]))
    (tree / "opt/serial-shell").chmod(0o755)
    (tree / "etc/systemd/system/serial-shell.service").write_text(SHELL_UNIT)
    (tree / "etc/sonosweep/edge.d/60-operator.toml").write_text('[bridge]\nsweeps = "operator"\n')
    subprocess.run(["systemctl", f"--root={tree}", "enable", "--quiet", "serial-shell"], check=True)
    image.make(tree, out)
    return out


@pytest.fixture(scope="module")
def emulated(disk, architecture):
    path = disk / "line"
    command = image.command(architecture, disk, PORT, counted=architecture == "arm64")
    command += ["-chardev", f"socket,id=shell,path={path},server=on,wait=off"]
    command += ["-serial", "chardev:shell"] if architecture == "amd64" else ["-device", "pci-serial,chardev=shell"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as qemu:
        try:
            while not path.exists():
                assert qemu.poll() is None
                time.sleep(0.05)
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(PATIENCE_S)
                line.connect(str(path))
                yield Emulated(line)
        finally:
            qemu.kill()
            say((disk / "console.log").read_text(errors="replace")[-600:])


def test_the_image_boots_and_is_ready(emulated, architecture):
    emulated.run("systemctl", "start", "sonosweep.target")  # it waits; to ask again and again would take a core from what starts
    stamps = emulated.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", *UNITS.values())
    ready = max(int(stamp) for stamp in stamps.split()) / 1e6
    say(f"from the kernel's start to all services ready, emulated: {ready:.1f} s")
    assert "sonosweep" not in emulated.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    assert ready < BOOT_S[architecture]


def test_a_sweep_from_the_tablet_becomes_a_saved_volume(emulated):
    """With what a container does not enforce: memory bounds, real time."""
    emulated.run("touch /run/moves")
    probe = f"sonosweep probe /opt/sweep.igs.mha --held --quiet --no-poses --rate {RATE} --trace /run/still"
    emulated.run(f"systemd-run --quiet --unit=front-end sh -c 'tail -f /run/moves | {probe}'")
    emulated.run("until test -e /run/still; do sleep 1; done")
    while "receiving" not in emulated.run("systemctl", "show", "-P", "StatusText", UNITS["bridge"]):
        time.sleep(1)
    story = sweep_and_save(emulated, lambda: emulated.run("echo >> /run/moves"), f"https://127.0.0.1:{PORT}", PATIENCE_S)
    sweep = play(story, PATIENCE_S)
    assert sweep in emulated.run("ls /var/lib/sonosweep/volumes")
    assert "sonosweep" not in emulated.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    peaks = emulated.run("cat /sys/fs/cgroup/system.slice/sonosweep-*.service/memory.peak").split()
    say(f"memory of all services, the sum of their highest: {sum(map(int, peaks)) / 1e6:.0f} MB")


def test_the_same_poses_make_the_same_volume_there_and_here(emulated, tree, tmp_path):
    """By the poses of the sweep's tracker: the kernels leave no voxel to the processor."""
    emulated.run("systemctl", "stop", "front-end", "sonosweep.target")
    words = ["reconstruct", str(tree / "opt/sweep.igs.mha"), "-o", str(tmp_path / "here.mha"), "--motion", "recorded"]
    assert main(words) == 0
    emulated.run("sonosweep reconstruct /opt/sweep.igs.mha -o /tmp/there.mha --motion recorded 2>/dev/null")
    for name in ("there.mha", "there-state.mha"):
        emulated.fetch(f"/tmp/{name}", tmp_path / name)
    here, there = read_volume(tmp_path / "here.mha"), read_volume(tmp_path / "there.mha")
    assert here.intensity.any() and here.state.any()
    assert np.array_equal(here.intensity, there.intensity) and np.array_equal(here.state, there.state)
