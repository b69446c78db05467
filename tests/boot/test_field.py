"""A device in the field: the tablet starts a sweep, and the disk, the network and the nodes of devices are not as they should be."""

import json
import subprocess
import time
from contextlib import contextmanager

import pytest
from boot.tablet import play, sweep_and_save
from boot.test_boot import UNITS, nothing_failed

from edge.files import open_sweep
from edge.files.volumes import read_volume

OPERATOR = '[bridge]\nsweeps = "operator"\n'
# A data partition of its own, small enough to be filled; without a disk under it, so it is empty at each boot.
PARTITION = "[Mount]\nWhat=tmpfs\nWhere=/var/lib/sonosweep\nType=tmpfs\nOptions=size=64m,mode=0750\n"
DATA = "/var/lib/sonosweep"
FRAMES = 300
SYNC_S = 0.2  # [record] sync_ms


@pytest.fixture(scope="module")
def root(root):
    (root / "etc/systemd/system/var-lib-sonosweep.mount").write_text(PARTITION)
    (root / "etc/sonosweep/edge.d/60-operator.toml").write_text(OPERATOR)
    return root


@contextmanager
def held_probe(machine):
    """Lies still until the function that is yielded is called."""
    words = ["sonosweep", "probe", "/opt/sweep.igs.mha", "--held", "--quiet", "--no-poses"]
    with subprocess.Popen([*machine.enter, *words], stdin=subprocess.PIPE) as probe:

        def move():
            probe.stdin.write(b"\n")
            probe.stdin.flush()

        yield move
        probe.kill()


def sweep_from_the_tablet(machine):
    with held_probe(machine) as move:
        return machine.in_its_network(lambda: play(sweep_and_save(machine, move)))


def status(machine):
    return json.loads(machine.run("sonosweep", "status", "--json", check=False))


def faults(machine):
    """What stands or was raised just now, by name."""
    return {one["name"]: one for one in status(machine)["wrong"]}


def until(machine, what, done, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, (what, faults(machine), machine.journal())
        time.sleep(0.2)
    return found


def copied(machine, pattern, folder):
    """Files of the data partition, which is not to be seen from outside."""
    names = machine.run("sh", "-c", f"ls {DATA}/{pattern}", check=False).split()
    for name in names:
        data = subprocess.run([*machine.enter, "cat", name], capture_output=True, check=True).stdout
        (folder / name.rpartition("/")[2]).write_bytes(data)
    return [folder / name.rpartition("/")[2] for name in names]


def all_alive(machine):
    states = machine.run("systemctl", "is-active", *UNITS.values(), check=False).split()
    assert states == ["active"] * len(UNITS), machine.journal()
    nothing_failed(machine)


def test_the_oems_configuration_key_and_data_partition_are_there(machine, update_key):
    machine.wait_active([*UNITS.values(), "sonosweep.target"], 60)
    shown = machine.run("sonosweep", "config", "show")
    assert "keep_free_mib = 16" in shown and 'sweeps = "operator"' in shown
    assert (machine.root / f"etc/sonosweep/update-keys/{update_key.name}.pem").exists()
    assert "tmpfs" in machine.run("findmnt", "-n", "-o", "FSTYPE", DATA)
    until(machine, "the hook of a good boot", (machine.root / "var/lib/sonosweep-boot-was-good").exists, 60)


def test_the_tablets_start_becomes_a_saved_volume(machine, tmp_path):
    sweep = sweep_from_the_tablet(machine)
    (volume,) = copied(machine, f"volumes/{sweep}_?.nrrd", tmp_path)
    assert read_volume(volume).intensity.any() and read_volume(volume).metadata["direction_source"] == "operator"
    (recording,) = copied(machine, f"sweeps/{sweep}_?.mcap", tmp_path)
    assert open_sweep(recording).frame_count >= 60


def test_a_full_disk_is_named_and_once_there_is_room_the_next_sweep_is_whole(machine):
    machine.run("sh", "-c", f"fallocate -l $(($(df --output=avail -B1 {DATA} | tail -1) - 4096)) {DATA}/full")
    until(machine, "a full disk is told before a sweep", lambda: "DISK_NEARLY_FULL" in faults(machine))
    with held_probe(machine), pytest.raises(AssertionError):
        pass
    machine.run("rm", f"{DATA}/full")
    until(machine, "there is room", lambda: "DISK_NEARLY_FULL" not in faults(machine))
    sweep_from_the_tablet(machine)
    all_alive(machine)
