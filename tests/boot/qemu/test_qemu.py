"""The generic image in full system emulation (TCG): a kernel of its own, every limit enforced. Not in CI: minutes. `make qemu-test`."""

import shutil
import socket
import subprocess
import time

import image
import pytest
from boot.tablet import play, sweep_and_save
from boot.test_boot import UNITS

from edge.console import say

PORT = 18443
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "cpio": "cpio", "mke2fs": "e2fsprogs"}
BOOT_S, PATIENCE_S = 30.0, 400
# A shell on the second serial line, for the test alone: a line is a command, its answer ends with its exit status.
SHELL = """#!/bin/sh
stty -F /dev/ttyS1 raw -echo clocal
exec </dev/ttyS1 >/dev/ttyS1 2>/dev/console
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

    def _until(self, end):
        while end not in self._heard:
            piece = self._line.recv(4096)
            assert piece, "the machine is gone"
            self._heard += piece
        said, _, self._heard = self._heard.partition(end)
        return said.decode(errors="replace")


@pytest.fixture(scope="module")
def disk(tree, tmp_path_factory):
    for program, needed in PROGRAMS.items():
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: sudo apt install {needed}")
    out = tmp_path_factory.mktemp("image")
    (tree / "opt/serial-shell").write_text(SHELL)
    (tree / "opt/serial-shell").chmod(0o755)
    (tree / "etc/systemd/system/serial-shell.service").write_text(SHELL_UNIT)
    (tree / "etc/sonosweep/edge.d/60-operator.toml").write_text('[bridge]\nsweeps = "operator"\n')
    subprocess.run(["systemctl", f"--root={tree}", "enable", "--quiet", "serial-shell"], check=True)
    image.make(tree, out)
    return out


@pytest.fixture(scope="module")
def emulated(disk):
    path = disk / "line"
    command = [*image.command(disk, PORT), "-serial", f"unix:{path},server=on,wait=off"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as qemu:
        try:
            while not path.exists():
                assert qemu.poll() is None
                time.sleep(0.05)
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(300)
                line.connect(str(path))
                yield Emulated(line)
        finally:
            qemu.kill()
            say((disk / "console.log").read_text(errors="replace")[-600:])


def test_the_image_boots_and_is_ready(emulated):
    emulated.run("systemctl", "start", "sonosweep.target")  # it waits; to ask again and again would take a core from what starts
    stamps = emulated.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", *UNITS.values())
    ready = max(int(stamp) for stamp in stamps.split()) / 1e6
    say(f"from the kernel's start to all services ready, emulated: {ready:.1f} s")
    assert "sonosweep" not in emulated.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    assert ready < BOOT_S


def test_a_sweep_from_the_tablet_becomes_a_saved_volume(emulated):
    """With what a container does not enforce: memory bounds, real time."""
    emulated.run("touch /run/moves")
    probe = "sonosweep probe /opt/sweep.igs.mha --held --quiet --no-poses --trace /run/still"
    emulated.run(f"systemd-run --quiet --unit=front-end sh -c 'tail -f /run/moves | {probe}'")
    emulated.run("until test -e /run/still; do sleep 1; done")
    while "receiving" not in emulated.run("systemctl", "show", "-P", "StatusText", UNITS["bridge"]):
        time.sleep(1)
    sweep = play(sweep_and_save(emulated, lambda: emulated.run("echo >> /run/moves"), f"https://127.0.0.1:{PORT}"), PATIENCE_S)
    assert sweep in emulated.run("ls /var/lib/sonosweep/volumes")
