"""The package is built once, the tree is made once, and the machine boots once for all tests of this folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boot.machine import booted, in_chroot, root_file_system

from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep

ROOT = Path(__file__).parents[2]
PROGRAMS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "unshare": "util-linux", "script": "bsdutils"}
HOOK = "#!/bin/sh\ntouch /var/lib/sonosweep-boot-was-good\n"
SOON = "[Service]\nExecStart=\nExecStart=/usr/bin/sonosweep verdict --seconds 5 --within 60\n"


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="of each service (3)")


@pytest.fixture(scope="session")
def kills(request):
    return request.config.getoption("--kills", 3)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.boot)
            item.add_marker(pytest.mark.timeout(600))


def built(flavour, folder, *options):
    command = [sys.executable, str(ROOT / "packaging/deb.py"), flavour, "--out", str(folder), *options]
    subprocess.run(command, check=True, cwd=ROOT)
    (package,) = folder.glob("*.deb")
    return package


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The amd64 package."""
    return built("amd64-cp311", tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def machine(package, tmp_path_factory):
    """Booted, with a hook for a good boot and a sweep to play in it."""
    if os.geteuid() != 0:
        pytest.skip("a root file system is made and booted as root")
    for program, needed in PROGRAMS.items():
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: sudo apt install {needed}")
    root = tmp_path_factory.mktemp("machine") / "root"
    root_file_system(ROOT / ".venv/boot/bookworm.tar", root)
    shutil.copyfile(package, root / "opt/sonosweep.deb")
    in_chroot(root, "dpkg", "-i", "/opt/sonosweep.deb")
    hook = root / "etc/sonosweep/boot-good.d/10-mark.sh"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    drop_in = root / "etc/systemd/system/sonosweep-boot-verdict.service.d/soon.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(SOON)
    settings = SimulationSettings(frames=60, frames_per_s=30.0, image_size=(96, 80), spacing_mm=(0.4, 0.4), speckle=False)
    write_simulated_sweep(root / "opt/sweep.igs.mha", simulate_sweep(settings))
    with booted(root) as machine:
        yield machine
