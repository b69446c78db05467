"""The package is built once, the tree is made once, and a copy of it boots for each file of tests of this folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boot.machine import booted, hindrance, root_file_system

from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep
from edge.update.package import Dpkg
from edge.update.signature import make_key

ROOT = Path(__file__).parents[2]
PROGRAMS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "unshare": "util-linux", "script": "bsdutils"}
OEM = "[record]\nkeep_free_mib = 16\nwarn_free_mib = 24\n"
HOOK = "#!/bin/sh\ntouch /var/lib/sonosweep-boot-was-good\n"
SOON = "[Service]\nExecStart=\nExecStart=/usr/bin/sonosweep verdict --seconds 5 --within 60\n"


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="of each service (3)")
    parser.addoption("--hangs", type=int, default=1, help="of each service (1); each takes its watchdog's time")
    parser.addoption("--arch", choices=("amd64", "arm64"), default="amd64", help="of package and tree (amd64); arm64: tests/boot/qemu")
    parser.addoption("--package", type=Path, help="a package that was built before, in place of building one")


@pytest.fixture(scope="session")
def architecture(request):
    """Of package and tree, as dpkg names it."""
    return request.config.getoption("--arch", "amd64")


@pytest.fixture(scope="session")
def kills(request):
    return request.config.getoption("--kills", 3)


@pytest.fixture(scope="session")
def hangs(request):
    return request.config.getoption("--hangs", 1)


def pytest_collection_modifyitems(config, items):
    here, longest_s = Path(__file__).parent, 600 + 60 * config.getoption("--hangs", 1) + 15 * config.getoption("--kills", 3)
    longest_s *= 3 if config.getoption("--arch", "amd64") == "arm64" else 1
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.boot)
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))  # of a machine that was killed
            item.add_marker(pytest.mark.timeout(longest_s))


def built(flavour, folder, *options):
    command = [sys.executable, str(ROOT / "packaging/deb.py"), flavour, "--out", str(folder), *options]
    subprocess.run(command, check=True, cwd=ROOT)
    (package,) = folder.glob("*.deb")
    return package


@pytest.fixture(scope="session")
def package(request, architecture, tmp_path_factory):
    """For Debian 12."""
    if made := request.config.getoption("--package", None):
        return made
    return built(f"{architecture}-cp311", tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def update_key(tmp_path_factory):
    """The OEM's key for updates; KEY.pem beside it is the public one."""
    key = tmp_path_factory.mktemp("oem") / "update-key"
    make_key(key, key.with_name(key.name + ".pem"))
    return key


@pytest.fixture(scope="session")
def tree(package, architecture, update_key, tmp_path_factory):
    """A root file system as an integrator makes it: packaging/rootfs.py with a configuration, a key and a hook."""
    if os.geteuid() != 0:
        pytest.skip("a root file system is made and booted as root")
    for program, needed in PROGRAMS.items():
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: sudo apt install {needed}")
    if why := hindrance():
        pytest.skip(f"this machine lets nobody have a control group tree of their own: {why}")
    if architecture != Dpkg().run("--print-architecture").strip():
        if not shutil.which("arch-test") or subprocess.run(["arch-test", architecture], capture_output=True, check=False).returncode:
            pytest.skip(f"programs of {architecture} do not run here: sudo apt install arch-test qemu-user-static binfmt-support")
    tree, oem = tmp_path_factory.mktemp("image") / "tree", update_key.parent
    root_file_system(ROOT / f".venv/boot/bookworm-{architecture}.tar", tree, architecture)
    (oem / "oem.toml").write_text(OEM)
    (oem / "10-mark.sh").write_text(HOOK)
    command = [sys.executable, str(ROOT / "packaging/rootfs.py"), str(tree), str(package), "--config", str(oem / "oem.toml")]
    subprocess.run([*command, "--key", f"{update_key}.pem", "--hook", str(oem / "10-mark.sh")], check=True)
    drop_in = tree / "etc/systemd/system/sonosweep-boot-verdict.service.d/soon.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(SOON)
    settings = SimulationSettings(frames=60, frames_per_s=30.0, image_size=(96, 80), spacing_mm=(0.4, 0.4), speckle=False)
    write_simulated_sweep(tree / "opt/sweep.igs.mha", simulate_sweep(settings))
    shutil.copyfile(package, tree / "opt/sonosweep.deb")
    return tree


@pytest.fixture(scope="module")
def root(tree, tmp_path_factory):
    """A copy of the tree for the tests of one file, gone afterwards."""
    root = tmp_path_factory.mktemp("machine") / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", str(tree), str(root)], check=True)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def machine(root):
    """Booted."""
    with booted(root) as machine:
        yield machine
