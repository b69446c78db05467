"""``python packaging/image.py TREE OUT``: a root file system with the package in it (packaging/rootfs.py) as a disk that QEMU boots.

Makes OUT/disk.img (ext4, no partition table), OUT/vmlinuz and OUT/initrd.gz, and says the command that boots them. The machine is the
tree's: amd64 or arm64; the kernel is Debian's for virtual machines, fetched with apt. Nothing of it goes to a Jetson: there NVIDIA's tools
flash the same tree.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from rootfs import architecture

from edge.console import say


class Machine(NamedTuple):
    """``kernel``: a package of Debian's. ``qemu``: the program. ``console``: the first serial line as that kernel names it."""

    kernel: str
    qemu: str
    board: str
    cpu: str
    console: str


# Five levels of pages slow every look-up down; with svm KVM's modules are loaded, which can do nothing in an emulation.
MACHINES = {
    "amd64": Machine("linux-image-cloud-amd64", "qemu-system-x86_64", "q35", "max,la57=off,svm=off", "ttyS0"),
    "arm64": Machine("linux-image-cloud-arm64", "qemu-system-aarch64", "virt", "cortex-a72", "ttyAMA0"),
}
# In the order in which they are loaded; virtio is modular in that kernel, ext4 is not.
MODULES = "virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk failover net_failover virtio_net virtio-rng"
INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc; busybox mount -t sysfs sys /sys; busybox mount -t devtmpfs dev /dev
for module in {modules}; do busybox insmod /modules/$module.ko; done
until busybox mount -t ext4 -o rw /dev/vda /root; do busybox sleep 0.1; done
busybox mount --move /dev /root/dev
busybox umount /sys; busybox umount /proc
exec busybox switch_root /root /sbin/init
"""
BOOT = "panic=-1 quiet nokaslr mitigations=off audit=0 random.trust_cpu=on systemd.show_status=no"
# Emulated, each of these costs seconds and serves nobody here: a disk's housekeeping, log-ins, and modules that this kernel has not.
NEEDLESS = (
    "e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer"
    " systemd-tmpfiles-clean.timer getty@tty1.service serial-getty@ttyS0.service serial-getty@ttyAMA0.service"
    " systemd-logind.service systemd-user-sessions.service"
    " systemd-binfmt.service proc-sys-fs-binfmt_misc.automount kmod-static-nodes.service systemd-modules-load.service"
    " modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service"
    " modprobe@loop.service dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount systemd-update-utmp.service"
    " systemd-update-utmp-runlevel.service systemd-network-generator.service"
)
# Of hundreds of emulated devices the disk and the network card are waited for; the kernel itself makes the nodes of the others.
COLDPLUG = """[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=block --subsystem-match=net
"""
SIZE_MIB = 1800
CABLE = "[Match]\nType=ether\n[Network]\nDHCP=yes\n"


class NoKernel(SystemExit):
    """Debian's packages for the machine cannot be had; the message says why."""


def fetch(machine: str, out: Path) -> Path:
    """Debian's newest kernel with its modules, and busybox, unpacked under ``out``; answers the folder. apt's lists are its own there."""
    (out / "lists/partial").mkdir(parents=True)
    settings = {"APT::Architecture": machine, "APT::Architectures": machine, "Dir::State": out, "Dir::State::status": "/dev/null"}
    settings |= {"Dir::Cache": out, "APT::Sandbox::User": "root"}
    apt = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    subprocess.run(["apt-get", *apt, "-qq", "update"], check=True)
    kernel = MACHINES[machine].kernel
    said = subprocess.run(["apt-cache", *apt, "depends", kernel], capture_output=True, text=True, check=False).stdout
    names = [line.split()[-1] for line in said.splitlines() if "Depends: linux-image" in line]
    if not names:
        raise NoKernel(f"apt knows no {kernel} for {machine}: Debian's archive must be among its sources, for that architecture too")
    subprocess.run(["apt-get", *apt, "-qq", "download", names[0], "busybox-static"], cwd=out, check=True)
    for package in out.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(out / "files")], check=True)
    return out / "files"


def make_initrd(files: Path, out: Path) -> None:
    """Busybox, the modules of a virtual machine's disk and network, and ten lines that mount the disk."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        for folder in ("bin", "dev", "proc", "sys", "root", "modules"):
            (root / folder).mkdir()
        shutil.copy(files / "bin/busybox", root / "bin/busybox")
        for module in MODULES.split():
            shutil.copy(next(files.rglob(f"{module}.ko")), root / "modules")
        (root / "init").write_text(INIT.format(modules=MODULES))
        (root / "init").chmod(0o755)
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True)
        out.write_bytes(gzip.compress(archive.stdout, mtime=0))


def make_disk(tree: Path, out: Path) -> None:
    """Without a loop device; sparse."""
    out.unlink(missing_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(tree), "-L", "root", str(out), f"{SIZE_MIB}M"], check=True)


def command(machine: str, out: Path, port: int, counted: bool = False) -> list[str]:
    """What boots it in emulation, with the tablets' port on this machine's ``port``.

    ``counted``: an instruction takes 1 ns of the machine's time, so that a busy PC makes nothing in it late; slower on free cores.
    """
    kind, network = MACHINES[machine], f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:8443"
    words = [kind.qemu, "-M", kind.board, "-cpu", kind.cpu, "-smp", "2", "-m", "1536"]
    words += ["-accel", "tcg,thread=single", "-icount", "shift=0"] if counted else ["-accel", "tcg,thread=multi"]
    words += ["-nodefaults", "-no-reboot", "-display", "none", "-serial", f"file:{out}/console.log"]
    words += ["-kernel", f"{out}/vmlinuz", "-initrd", f"{out}/initrd.gz", "-append", f"console={kind.console} {BOOT}"]
    words += ["-drive", f"file={out}/disk.img,if=virtio,format=raw,cache=unsafe"]
    return [*words, "-netdev", network, "-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci"]


def make(tree: Path, out: Path) -> None:
    """All three files. The tree gets an address by its cable."""
    out.mkdir(parents=True, exist_ok=True)
    (tree / "etc/systemd/network/20-cable.network").write_text(CABLE)
    subprocess.run(["systemctl", f"--root={tree}", "enable", "--quiet", "systemd-networkd.service"], check=True)
    subprocess.run(["systemctl", f"--root={tree}", "mask", "--quiet", *NEEDLESS.split()], check=True)
    coldplug = tree / "etc/systemd/system/systemd-udev-trigger.service.d/coldplug.conf"
    coldplug.parent.mkdir(exist_ok=True)
    coldplug.write_text(COLDPLUG)
    with tempfile.TemporaryDirectory() as made:
        files = fetch(architecture(tree), Path(made))
        shutil.copy(next(files.glob("boot/vmlinuz-*")), out / "vmlinuz")
        make_initrd(files, out / "initrd.gz")
        (modules,) = (files / "lib/modules").iterdir()
        shutil.copytree(modules, tree / "usr/lib/modules" / modules.name, dirs_exist_ok=True, symlinks=True)
        subprocess.run(["depmod", "-b", str(tree), modules.name], check=True)
    make_disk(tree, out / "disk.img")


def main() -> None:
    """Make, and say what boots it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path, metavar="TREE", help="with the package in it: packaging/rootfs.py")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for disk.img, vmlinuz, initrd.gz")
    options = parser.parse_args()
    make(options.tree, options.out)
    say(f"{options.out}: boot it with\n{' '.join(command(architecture(options.tree), options.out, 8443))}")


if __name__ == "__main__":
    main()
