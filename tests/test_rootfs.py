"""Putting the package into a root file system: a wrong tree is refused before anything is changed. tests/boot takes a real one."""

import argparse
import os
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
import rootfs
from rootfs import WrongTree, check_tree, put

from edge.update.package import Package

pytestmark = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="dpkg is of systems of Debian's kind")
INSTALLED = "Package: {}\nStatus: install ok installed\nArchitecture: {}\nMaintainer: m <m@x.invalid>\nVersion: {}\nDescription: x\n\n"


@pytest.fixture
def tree(tmp_path):
    """As apply_binaries.sh leaves one, as far as dpkg tells."""
    tree = tmp_path / "rootfs"
    for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "usr/lib", "usr/sbin", "proc"):
        (tree / folder).mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    (tree / "var/lib/dpkg/status").write_text(INSTALLED.format("dpkg", "arm64", "1.21") + INSTALLED.format("python3", "arm64", "3.10.6-1"))
    return tree


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "sonosweep.deb"
    path.write_bytes(b"x" * 1000)
    return Package(path, "sonosweep", "0.1.0+cp310", "arm64", "python3 (>= 3.10~), python3 (<< 3.11)", "")


def test_a_tree_that_fits_is_taken(tree, package):
    check_tree(tree, package, "arm64")


def test_what_is_no_tree_is_refused(tmp_path, package):
    with pytest.raises(WrongTree, match=r"apply_binaries\.sh"):
        check_tree(tmp_path, package, "arm64")


def test_a_tree_whose_lib_was_replaced_is_refused(tree, package):
    (tree / "lib").unlink()
    (tree / "lib").mkdir()
    with pytest.raises(WrongTree, match="must be a link to usr/lib"):
        check_tree(tree, package, "arm64")


@pytest.mark.parametrize("own", rootfs.OF_ONE_DEVICE)
def test_a_tree_that_was_booted_is_refused(tree, package, own):
    (tree / own).mkdir(parents=True)
    with pytest.raises(WrongTree, match="never booted"):
        check_tree(tree, package, "arm64")


def test_another_machine_or_python_is_refused(tree, package):
    with pytest.raises(WrongTree, match=r"is for amd64, and .* is arm64"):
        check_tree(tree, package._replace(architecture="amd64"), "amd64")
    with pytest.raises(WrongTree, match=r"needs python3 \(>= 3\.12~\)"):
        check_tree(tree, package._replace(depends="python3 (>= 3.12~)"), "arm64")


@pytest.mark.parametrize("status", [0, 126])
def test_a_foreign_tree_whose_programs_do_not_run_here_is_refused_with_the_cure(tree, package, monkeypatch, status):
    """qemu-user-static alone is not enough: the kernel must have been told of it."""
    run = subprocess.run

    def tried(command, **options):
        return subprocess.CompletedProcess(command, status) if command[0] == "chroot" else run(command, **options)

    monkeypatch.setattr(subprocess, "run", tried)
    check_tree(tree, package, "arm64")
    with pytest.raises(WrongTree, match="apt install qemu-user-static binfmt-support") if status else nullcontext():
        check_tree(tree, package, "amd64")


def test_a_full_disk_is_told_before(tree, package, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(WrongTree, match="only 0 MiB are free"):
        check_tree(tree, package, "arm64")


def test_a_failing_installation_leaves_nothing_mounted_and_its_words(tree, package, monkeypatch):
    ran = []

    def run(command, **options):
        ran.append(command[0])
        return subprocess.CompletedProcess(command, 1 if command[0] == "chroot" else 0, "", "dpkg: broken\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(WrongTree, match="dpkg: broken"):
        (tree / "tmp").mkdir()
        rootfs.install(tree, argparse.Namespace(package=package.path, config=None, key=[], hook=[]))
    assert ran == ["mount", "chroot", "umount"]
    assert not list((tree / "tmp").iterdir()) and not (tree / "usr/sbin/policy-rc.d").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="files are given to root")
def test_files_of_the_oem_are_roots(tmp_path):
    source = tmp_path / "hook.sh"
    source.write_text("#!/bin/sh\n")
    put(source, tmp_path / "etc/boot-good.d/hook.sh", 0o755)
    made = Path(tmp_path / "etc/boot-good.d/hook.sh").stat()
    assert (oct(made.st_mode & 0o777), made.st_uid) == ("0o755", 0)
