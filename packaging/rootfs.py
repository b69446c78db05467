"""``python packaging/rootfs.py TREE FILE.deb``: put the package and an OEM's configuration into a root file system, ready to be flashed.

Works as root on ``Linux_for_Tegra/rootfs`` and on any tree of Debian or Ubuntu; for another machine's tree this one must run its
programs (qemu-user-static and binfmt-support). Nothing is started; it may be run again. Run it with the project's Python
(`make .venv/dev`); docs/flashing.md says what comes before and after.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.console import say
from edge.update.package import Dpkg, Package, read_package

UNITS = "sonosweep.target", "sonosweep-tablet.socket", "sonosweep-boot-verdict.service", "recover-sonosweep.service"
OF_ONE_DEVICE = "var/lib/sonosweep/tablet", "var/lib/sonosweep/sweeps", "etc/ssh/ssh_host_ed25519_key"


class WrongTree(SystemExit):
    """The tree cannot take the package; the message says why and what to do."""


def architecture(tree: Path) -> str:
    """As dpkg names it."""
    foreign = tree / "var/lib/dpkg/arch"
    machine = next(iter(foreign.read_text().split()), "") if foreign.exists() else ""
    return machine or Dpkg(tree).query("--show", "--showformat=${Architecture}", "dpkg").strip()


def check_tree(tree: Path, package: Package, here: str) -> None:
    """Raises ``WrongTree``. ``here``: this machine's architecture."""
    if not (tree / "var/lib/dpkg/status").is_file():
        raise WrongTree(f"{tree}: is no root file system of Debian or Ubuntu; for a Jetson: Linux_for_Tegra/rootfs after apply_binaries.sh")
    if not (tree / "lib").is_symlink():
        raise WrongTree(f"{tree}: /lib is a folder and must be a link to usr/lib; something was unpacked over it: make the tree anew")
    if used := [path for path in OF_ONE_DEVICE if (tree / path).exists()]:
        raise WrongTree(f"{tree}: holds /{used[0]}, which is one device's own; take a tree that was never booted")
    dpkg, machine = Dpkg(tree), architecture(tree)
    if package.architecture != machine:
        raise WrongTree(f"{package.path}: is for {package.architecture}, and {tree} is {machine}")
    if missing := dpkg.unmet(package.depends):
        raise WrongTree(f"{package.path}: needs {missing}, which {tree} has not; take the package for its Python, or install that first")
    if machine != here and subprocess.run(["chroot", str(tree), "true"], capture_output=True, check=False).returncode:
        cure = "sudo apt install qemu-user-static binfmt-support"
        raise WrongTree(f"{tree} is {machine}, and this machine ({here}) does not run its programs: {cure}")
    if (free := shutil.disk_usage(tree).free) < 8 * package.path.stat().st_size:
        raise WrongTree(f"{tree}: only {free >> 20} MiB are free")


@contextmanager
def prepared(tree: Path) -> Iterator[None]:
    """The chroot has /proc, and its daemons stay off."""
    policy = tree / "usr/sbin/policy-rc.d"
    before = policy.read_bytes() if policy.exists() else None
    subprocess.run(["mount", "-t", "proc", "proc", str(tree / "proc")], check=True)
    try:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        yield
    finally:
        subprocess.run(["umount", str(tree / "proc")], check=True)
        policy.unlink() if before is None else policy.write_bytes(before)


def inside(tree: Path, *words: str) -> str:
    """Run in the tree; its words where it fails."""
    done = subprocess.run(["chroot", str(tree), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongTree(f"{' '.join(words)} failed in {tree}: {(done.stdout + done.stderr).strip()[-800:]}")
    return done.stdout


def put(source: Path, target: Path, mode: int) -> None:
    """Root's, with that mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)
    os.chown(target, 0, 0)


def install(tree: Path, options: argparse.Namespace) -> None:
    """Package, configuration, keys, hooks; then the checks."""
    etc = tree / "etc/sonosweep"
    with prepared(tree):
        shutil.copyfile(options.package, tree / "tmp/sonosweep.deb")
        try:
            inside(tree, "dpkg", "--install", "--force-confold", "/tmp/sonosweep.deb")
        finally:
            (tree / "tmp/sonosweep.deb").unlink()
        if options.config:
            put(options.config, etc / "edge.d/50-oem.toml", 0o644)
        for key in options.key:
            put(key, etc / "update-keys" / key.name, 0o644)
        hooks = {"boot-good.d": options.hook, "state.d": options.state_hook, "battery-empty.d": options.battery_hook}
        for folder, programs in hooks.items():
            for hook in programs:
                put(hook, etc / folder / hook.name, 0o755)
        say(inside(tree, "sonosweep", "--version").strip())
        inside(tree, "sonosweep", "config", "check")
    for unit in UNITS:
        subprocess.run(["systemctl", f"--root={tree}", "enable", "--quiet", unit], check=True)
    verify = ["systemd-analyze", f"--root={tree}", "verify", *UNITS, "multi-user.target"]  # with the whole boot: circles show
    said = subprocess.run(verify, capture_output=True, text=True, check=False).stderr
    if ours := [line for line in said.splitlines() if "sonosweep" in line and "is not executable" not in line]:
        raise WrongTree("\n".join(ours))


def main() -> None:
    """Check, install, say what is next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path, metavar="TREE")
    parser.add_argument("package", type=Path, metavar="FILE.deb")
    parser.add_argument("--config", type=Path, metavar="TOML", help="becomes /etc/sonosweep/edge.d/50-oem.toml")
    parser.add_argument("--key", type=Path, action="append", default=[], metavar="PEM", help="public key of updates (several)")
    parser.add_argument("--hook", type=Path, action="append", default=[], metavar="FILE", help="runs after a good boot (several)")
    parser.add_argument(
        "--state-hook", type=Path, action="append", default=[], metavar="FILE", help="runs when the state changes (several)"
    )
    parser.add_argument("--battery-hook", type=Path, action="append", default=[], metavar="FILE", help="runs before an empty end (several)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise WrongTree("a root file system belongs to root: sudo python3 packaging/rootfs.py ...")
    package = read_package(options.package)
    check_tree(options.tree, package, Dpkg().run("--print-architecture").strip())
    install(options.tree, options)
    say(f"{options.tree}: {package.version} is in it; the first boot makes the device's own keys and its engine")


if __name__ == "__main__":
    main()
