"""What the package is made of, as far as it can be told without building one: tests/boot builds and boots it."""

import json
import re
import shutil
import subprocess
from email import message_from_string
from pathlib import Path

import elf
import pytest
import sbom
import tomli
from flavours import FLAVOURS, NEWEST_GLIBC
from packaging.requirements import Requirement

from edge.config import Config, parse
from edge.services import SERVICES

ROOT = Path(__file__).parents[1]
LOCKS = {name: (ROOT / "packaging/locks" / f"{name}.txt").read_text() for name in FLAVOURS}
SYSTEMD = ROOT / "systemd"
NEWER_THAN_249 = {
    "RestartSteps",
    "RestartMaxDelaySec",
    "RestartMode",
    "ExitType",
    "OpenFile",
    "LoadCredentialEncrypted",
    "ImportCredential",
    "ConditionCredential",
    "ConditionMemoryPressure",
    "ExecSearchPath",
    "ExtensionDirectories",
    "FileDescriptorStorePreserve",
    "RestrictFileSystems",
    "RestrictNetworkInterfaces",
    "StartupAllowedCPUs",
    "CoredumpReceive",
    "LogFilterPatterns",
    "MemoryKSM",
    "MemoryPressureWatch",
    "SurviveFinalKillSignal",
    "PrivatePIDs",
    "BindLogSockets",
}


def unit(name):
    """Keys of a unit with the values that stand in it, the shared drop-in first."""
    found = {}
    for path in (SYSTEMD / "sonosweep-.service.d/10-sandbox.conf", SYSTEMD / name):
        for key, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.M):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_library_that_the_device_needs_is_locked_with_a_checksum(flavour):
    locked = {name: digest for name, _, digest in sbom.LOCKED.findall(LOCKS[flavour])}
    assert LOCKS[flavour].count("==") == len(locked)
    needed = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for requirement in map(Requirement, needed):
        if requirement.marker is None or requirement.marker.evaluate({"python_version": FLAVOURS[flavour].python}):
            assert requirement.name.lower() in locked


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_stays_dead_or_hangs_unseen(name):
    said = unit(f"sonosweep-{name}.service")
    assert said["Restart"] == ["always"] and said["StartLimitIntervalSec"] == ["0"]
    assert said["Type"] == ["notify"] and said["WatchdogSec"]
    assert not any(key.startswith("CPUScheduling") for key in said), "refused real time would end the service with status 214"


def test_what_the_sandbox_takes_is_given_back_after_it_and_not_in_the_unit_file():
    """A drop-in is read after the unit file: there `~@resources` took back what CUDA needs."""
    for path in SYSTEMD.glob("sonosweep-*.service"):
        assert "SystemCallFilter=" not in path.read_text(), f"{path.name}: put it into {path.name}.d/20-....conf"
    for name in ("run", "firstboot"):
        assert "sched_setaffinity" in (SYSTEMD / f"sonosweep-{name}.service.d/20-gpu.conf").read_text()


def test_units_say_nothing_that_jetpack_6_does_not_know():
    for path in SYSTEMD.rglob("*"):
        if path.is_file():
            assert not set(re.findall(r"^(\w+)=", path.read_text(), re.M)) & NEWER_THAN_249, path


def test_only_who_computes_reaches_devices():
    assert [name for name in SERVICES if "DeviceAllow" in unit(f"sonosweep-{name}.service")] == ["run"]
    allowed = unit("sonosweep-run.service")["DeviceAllow"]
    assert allowed == unit("sonosweep-firstboot.service")["DeviceAllow"]
    assert all(line.startswith(("/dev/", "char-drm ")) for line in allowed), "char-nvgpu and the like match nothing"


def test_the_configuration_that_is_installed_is_one():
    config = parse((ROOT / "packaging/etc/edge.toml").read_text(), "edge.toml")
    assert config.record == Config().record and config.volume.save


def test_the_maintainers_scripts_are_sh(tmp_path):
    for script in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", str(ROOT / "packaging/deb" / script)], check=True)
        assert "/var/lib/sonosweep" not in re.sub(r"rmdir .*|\[ -d .*|echo .*|#.*", "", (ROOT / "packaging/deb" / script).read_text())


def test_an_object_of_another_processor_or_of_a_newer_glibc_is_named(tmp_path):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("cc is not installed: sudo apt install gcc")
    (tmp_path / "one.c").write_text('#include <stdio.h>\nint one(void) { return puts("one"); }\n')
    subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "one.so", tmp_path / "one.c"], check=True)
    here = elf.wants(tmp_path / "one.so")
    assert here.glibc >= (2, 2) and "libc.so.6" in here.needed
    assert elf.complaints(tmp_path, here.machine, NEWEST_GLIBC) == []
    assert "is for ELF machine" in elf.complaints(tmp_path, here.machine + 1, NEWEST_GLIBC)[0]
    assert "wants GLIBC_2." in elf.complaints(tmp_path, here.machine, (2, 1))[0]


def test_the_bill_of_materials_names_licence_and_checksum(tmp_path):
    for name, licence in (("sonosweep", "License-Expression: Apache-2.0"), ("pyzmq", "Classifier: License :: OSI Approved :: BSD License")):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1\n{licence}\n\ntext\n")
    lock = tmp_path / "lock.txt"
    lock.write_text("pyzmq==1 \\\n    --hash=sha256:" + "a" * 64 + "\n")
    told = json.loads(sbom.bill(tmp_path, lock, "0.1.0", "2026-01-01T00:00:00Z", {"small.zip": "b" * 64}))
    library, model = sorted(told["components"], key=lambda one: one["type"])
    assert library["purl"] == "pkg:pypi/pyzmq@1" and library["licenses"] == [{"license": {"name": "BSD License"}}]
    assert library["hashes"][0]["content"] == "a" * 64 and model["hashes"][0]["content"] == "b" * 64
    assert told["metadata"]["component"]["licenses"] == [{"expression": "Apache-2.0"}]
    assert message_from_string((tmp_path / "pyzmq-1.dist-info/METADATA").read_text())["Name"] == "pyzmq"
