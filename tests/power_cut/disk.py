"""A disk that remembers every write and flush, and what it would hold had the power gone at any of them.

QEMU's storage daemon logs what an ext4 on a loop device writes (dm-log-writes format). A cut keeps everything up to the last flush before
it, and of what came after a random half: what a disk's cache may do. Blocks of 4 KiB stay whole; a disk that lies of flushes is outside.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

SECTOR = 4096
FLUSH, FUA, DISCARD = 1, 2, 4
SIZE_MIB, LOG_MIB = 48, 1024
PROGRAMS = {"qemu-storage-daemon": "qemu-system-common", "mkfs.ext4": "e2fsprogs", "losetup": "mount", "fusermount3": "fuse3"}
SUPER, ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")
MAGIC = 0x6A736677736872


class Entry(NamedTuple):
    """A write of ``length`` bytes to ``offset`` of the disk, from ``at`` in the log; a bare flush has none."""

    offset: int
    length: int
    flags: int
    at: int


def missing() -> str:
    """What this machine lacks, with the cure; "" where nothing is."""
    lacks = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if lacks:
        return f"sudo apt install {' '.join(lacks)}"
    if not (Path("/dev/fuse").exists() and Path("/dev/loop-control").exists()):
        return "this kernel has no FUSE or no loop devices"
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs none /mnt && losetup --find"]
    return "" if subprocess.run(words, capture_output=True, check=False).returncode == 0 else "mounting or loop devices are refused here"


class LoggedDisk:
    """Write under ``mount``; ``now`` says how much was written so far. After the block: ``entries`` and ``cut``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mount = folder, folder / "mount"
        self.base, self._disk, self._log, self._export = (folder / name for name in ("base.img", "disk.img", "writes.log", "export.img"))
        self.entries: list[Entry] = []
        self._at = SECTOR

    @contextmanager
    def mounted(self) -> Iterator[None]:
        with ExitStack() as stack:
            for path, mib in ((self.base, SIZE_MIB), (self._log, LOG_MIB)):
                with path.open("wb") as out:
                    out.truncate(mib << 20)
            run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", str(self.base))
            shutil.copyfile(self.base, self._disk)
            self._export.touch()
            self.mount.mkdir()
            daemon = stack.enter_context(subprocess.Popen(self._daemon()))
            stack.callback(daemon.terminate)
            deadline = time.monotonic() + 10
            while self._export.stat().st_size != SIZE_MIB << 20:
                assert time.monotonic() < deadline and daemon.poll() is None, "the storage daemon does not export the disk"
                time.sleep(0.05)
            loop = run("losetup", "--find", "--show", str(self._export)).strip()
            stack.callback(run, "losetup", "--detach", loop)
            run("mount", "-o", "data=ordered,commit=5", loop, str(self.mount))
            stack.callback(run, "umount", str(self.mount))
            yield
        self.now()

    def _daemon(self) -> list[str]:
        log = "driver=blklogwrites,node-name=w,file=d,log=l,log-sector-size=4096"
        nodes = [f"driver=file,node-name=f,filename={self._disk}", f"driver=file,node-name=l,filename={self._log}"]
        words = ["qemu-storage-daemon", *(word for node in (*nodes, "driver=raw,node-name=d,file=f", log) for word in ("--blockdev", node))]
        return [*words, "--export", f"type=fuse,id=e,node-name=w,mountpoint={self._export},writable=on"]

    def now(self) -> int:
        """How many entries the log holds."""
        with self._log.open("rb") as log:
            assert SUPER.unpack(log.read(SUPER.size))[0] == MAGIC
            while True:
                log.seek(self._at)
                first, count, flags, length = ENTRY.unpack(log.read(ENTRY.size))
                if not (first or count or flags or length):
                    return len(self.entries)
                self._at += SECTOR
                size = 0 if flags & DISCARD else count * SECTOR
                self.entries.append(Entry(first * SECTOR, size, flags, self._at))
                self._at += size

    def cuts(self, points: int, rng: random.Random, after: int = 0) -> Iterator[tuple[int, Path]]:
        """(point, image after the power went there), in rising order; ``after``: none before that entry."""
        replay, trial, done = self.folder / "replay.img", self.folder / "trial.img", 0
        shutil.copyfile(self.base, replay)
        all_of_them = range(after + 1, len(self.entries) + 1)
        chosen = sorted({*rng.sample(all_of_them, min(points, len(all_of_them))), len(self.entries)})  # and once after everything
        with self._log.open("rb") as log, replay.open("r+b") as disk:
            for point in chosen:
                flushed = max((n for n in range(point) if self.entries[n].flags & (FLUSH | FUA)), default=-1) + 1
                for entry in self.entries[done:flushed]:
                    _write(log, disk, entry)
                done = max(done, flushed)
                disk.flush()
                run("cp", "--sparse=always", str(replay), str(trial))
                with trial.open("r+b") as image:
                    for entry in self.entries[done:point]:
                        if rng.random() < 0.5:
                            _write(log, image, entry)
                yield point, trial


@contextmanager
def restarted(image: Path, folder: Path) -> Iterator[Path]:
    """Repaired and mounted as at the next boot."""
    done = subprocess.run(["e2fsck", "-fy", str(image)], capture_output=True, text=True, check=False)
    assert done.returncode <= 1, done.stdout  # 0 clean, 1 repaired
    folder.mkdir(exist_ok=True)
    run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        run("umount", str(folder))


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def _write(log, disk, entry: Entry) -> None:
    log.seek(entry.at)
    disk.seek(entry.offset)
    disk.write(log.read(entry.length))
