"""`sonosweep update` in a booted machine: what is well stays, what is not is taken back, and so is what the power cut off."""

import json
import re
import shutil
import subprocess
import time
from contextlib import suppress

import pytest
from boot.machine import booted, power_cut
from boot.test_boot import UNITS, nothing_failed

from edge.console import say
from edge.update.signature import sign

BROKEN = "[Service]\nExecStart=\nExecStart=/bin/false\n"
WITHIN_S = 20  # for the verdict on a version


def made(package, version, folder, change=lambda tree: None):
    """The package under another version, as packaging/deb.py --version names it; ``change`` is given its tree."""
    tree, path = folder / version, folder / f"sonosweep_{version}+cp311_amd64.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}+cp311", control.read_text(), flags=re.M))
    change(tree)
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return path


def break_the_recorder(tree):
    drop_in = tree / "usr/lib/systemd/system/sonosweep-record.service.d/50-broken.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(BROKEN)


@pytest.fixture(scope="module")
def machine(root, package, update_key, tmp_path_factory):
    """With 0.2.0 (signed), 0.3.0 (signed, its recorder does not start) and 0.4.0 (unsigned) on a stick."""
    stick = tmp_path_factory.mktemp("stick")
    sign(made(package, "0.2.0", stick), update_key)
    sign(made(package, "0.3.0", stick, break_the_recorder), update_key)
    shutil.copyfile(stick / "sonosweep_0.3.0+cp311_amd64.deb", stick / "sonosweep_0.4.0+cp311_amd64.deb")
    shutil.copytree(stick, root / "media/usb")
    with booted(root) as machine:
        yield machine


def update(machine, version, *options):
    """What the command says, and the version that is then installed."""
    path = f"/media/usb/sonosweep_{version}+cp311_amd64.deb"
    began = time.monotonic()
    said = machine.run("sonosweep", "update", path, "--within", str(WITHIN_S), *options, check=False, timeout_s=300)
    say(f"update to {version}: {time.monotonic() - began:.0f} s")
    return said, installed(machine)


def installed(machine):
    return machine.run("dpkg-query", "--show", "--showformat=${Status} ${Version}", "sonosweep").removeprefix("install ok installed ")


def text(path):
    with suppress(FileNotFoundError):  # dpkg writes each under another name first
        return path.read_text()
    return ""


def all_well(machine):
    machine.wait_active([*UNITS.values(), "sonosweep-tablet.socket", "sonosweep.target"], 60)
    deadline = time.monotonic() + 20
    while not json.loads(machine.run("sonosweep", "status", "--json", check=False))["well"]:
        assert time.monotonic() < deadline, machine.run("sonosweep", "status", check=False) + machine.journal()
    nothing_failed(machine)


def test_an_unsigned_package_is_refused_and_nothing_was_stopped(machine):
    all_well(machine)
    before = machine.number(UNITS["bridge"], "MainPID")
    said, version = update(machine, "0.4.0")
    assert "a package comes with its .sig file beside it" in said and version == "0.1.0+cp311"
    assert machine.number(UNITS["bridge"], "MainPID") == before


def test_a_signed_newer_version_is_installed_and_well(machine):
    before = machine.number(UNITS["bridge"], "MainPID")
    said, version = update(machine, "0.2.0")
    assert "signed by update-key" in said and version == "0.2.0+cp311", said
    assert machine.number(UNITS["bridge"], "MainPID") != before
    all_well(machine)


def test_a_version_whose_service_does_not_start_is_taken_back_by_itself(machine):
    said, version = update(machine, "0.3.0")
    assert "record not up" in said and "0.2.0+cp311 is installed again" in said and version == "0.2.0+cp311"
    assert not (machine.root / "usr/lib/systemd/system/sonosweep-record.service.d").exists()
    all_well(machine)


def test_a_power_cut_in_an_update_is_taken_back_at_the_next_boot(machine, root):
    """The last one: the machine is killed while dpkg unpacks, and its disk boots again."""
    pending, journal = root / "var/lib/sonosweep-update/pending", root / "var/lib/dpkg/updates"
    command = ["sonosweep", "update", "/media/usb/sonosweep_0.3.0+cp311_amd64.deb", "--within", str(WITHIN_S)]
    with subprocess.Popen([*machine.enter, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as updating:
        while not any("half-installed" in text(path) for path in journal.iterdir()):
            assert updating.poll() is None
            time.sleep(0.005)
        power_cut(machine)
        updating.wait(30)
    assert pending.exists()
    with booted(root, "sonosweep-boot-again") as again:
        all_well(again)
        assert installed(again) == "0.2.0+cp311" and not pending.exists()
        recovered = again.show("recover-sonosweep.service", "Result", "ExecMainExitTimestampMonotonic", "ExecMainStartTimestampMonotonic")
        assert recovered["Result"] == "success" and recovered["ExecMainStartTimestampMonotonic"] != "0"
        first = again.number("sonosweep-bridge.service", "ExecMainStartTimestampMonotonic")
        assert first > int(recovered["ExecMainExitTimestampMonotonic"]), "a service started on half of a version"
        assert "an update was cut off: installing previous.deb" in again.run("journalctl", "-b", "-u", "recover-sonosweep", "--no-pager")
