"""The power goes at 200 points of recording, saving, keeping an engine and updating, with the disk's cache reordered: what is found after.

Run as root by `make boot-test`; a broken writer must fail the same checks.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from power_cut.disk import LoggedDisk, missing, restarted
from synthetic_frames import frame, same

from edge.atomic import replacing
from edge.console import say
from edge.files import open_sweep
from edge.files.recording import RecordingWriter
from edge.files.recovery import interrupted, recover_all
from edge.files.volumes import Volume, read_volume
from edge.saving import save_volumes
from edge.tablet.library import Library, Record
from edge.update.journal import Journal
from edge.update.package import Dpkg
from edge.update.signature import make_key, sign
from edge.update.updating import Updating

pytestmark = [
    pytest.mark.boot,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="file systems are mounted as root"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "runs"),
]
POINTS = 100  # of each of two histories
SEED = 11
SWEEP = "sweep_abcdef0123456789_0003"
RECOVER = Path(__file__).parents[2] / "packaging/deb/recover-update"
FRAMES = [frame(n) for n in range(48)]


def volume(level: int) -> Volume:
    intensity = np.full((12, 10, 8), level, np.uint8)
    return Volume(
        intensity=intensity, state=np.ones_like(intensity), spacing_mm=0.5, origin_mm=(0.0, 0.0, 0.0), metadata={"level": str(level)}
    )


class Device:
    """Works under a folder and notes what it was told to be safe, and when."""

    def __init__(self, disk: LoggedDisk, *, broken: bool = False) -> None:
        self.disk, self.broken = disk, broken
        self.safe: list[tuple[int, str, int]] = []  # entries of the log, what, which version of it (or how many frames)

    def noted(self, what: str, version: int) -> None:
        self.safe.append((self.disk.now(), what, version))

    def work(self, root: Path) -> None:
        sweeps, engines = root / "sweeps", root / "engines"
        library = Library(sweeps, sweeps)
        engines.mkdir()
        writer = RecordingWriter(sweeps / f"{SWEEP}_0.mcap", {"boot_id": "abcdef0123456789", "sweep": "3"})
        for count, one in enumerate(FRAMES, 1):
            writer.append(one)
            if count % 6 == 0:
                writer.sync()
                self.noted("frames", count)
                version = count // 6
                library.write(Record(id=SWEEP, frames=version, path=[(float(version),) * 14] * 40 * version))
                self.noted("record", version)
                save_volumes(sweeps / f"{SWEEP}_0.nrrd", {"ultrasound": volume(version)})
                self.noted("volume", version)
                self.keep_engine(engines / "engine.plan", version)
                self.noted("engine", version)
        writer.finish("last")
        self.noted("frames", len(FRAMES))

    def keep_engine(self, path: Path, version: int) -> None:
        plan = bytes([version]) * (3000 + 2000 * version)
        if self.broken:
            path.write_bytes(plan)
            return
        with replacing(path) as out:
            out.write(plan)

    def promised(self, point: int, what: str) -> int:
        return max((version for entries, name, version in self.safe if name == what and entries <= point), default=0)


def wrong_after(root: Path, device: Device, point: int) -> list[str]:
    """What a restart finds that it must not."""
    sweeps, wrong = root / "sweeps", []
    if sweeps.exists():
        recover_all(interrupted(sweeps))
        frames = recorded(sweeps / f"{SWEEP}_0.mcap")
        if len(frames) < device.promised(point, "frames") or not all(map(same, frames, FRAMES)):
            wrong.append(f"{len(frames)} frames")
    found = {"record": record_version(sweeps), "volume": volume_version(sweeps), "engine": engine_version(root / "engines/engine.plan")}
    for what, version in found.items():
        if version is None or version < device.promised(point, what):
            wrong.append(f"{what}: {version}, promised {device.promised(point, what)}")
    return wrong


def recorded(path: Path):
    return list(open_sweep(path).frames()) if path.exists() and path.stat().st_size else []


def record_version(sweeps: Path):
    path = sweeps / f"{SWEEP}.json"
    if not path.exists():
        return 0
    try:
        told = json.loads(path.read_bytes())
    except ValueError:
        return None
    return told["frames"] if len(told["path"]) == 40 * told["frames"] else None


def volume_version(sweeps: Path):
    path = sweeps / f"{SWEEP}_0.nrrd"
    if not path.exists():
        return 0
    read = read_volume(path)
    levels = set(np.unique(read.intensity).tolist())
    return levels.pop() if {str(level) for level in levels} == {read.metadata["level"]} else None


def engine_version(path: Path):
    if not path.exists():
        return 0
    plan = path.read_bytes()
    return plan[0] if plan and plan == bytes([plan[0]]) * (3000 + 2000 * plan[0]) else None


def cut_everywhere(folder: Path, device: Device) -> dict[int, list[str]]:
    with device.disk.mounted():
        device.work(device.disk.mount)
    found = {}
    for point, image in device.disk.cuts(POINTS, random.Random(SEED)):
        with restarted(image, folder / "restarted") as root:
            if wrong := wrong_after(root, device, point):
                found[point] = wrong
    say(f"{len(device.disk.entries)} writes and flushes, {POINTS} cuts, {len(found)} of them bad")
    return found


def test_recordings_exams_volumes_and_engines_survive_every_cut(tmp_path):
    assert cut_everywhere(tmp_path, Device(LoggedDisk(tmp_path))) == {}


def test_a_writer_that_rewrites_in_place_is_caught(tmp_path):
    found = cut_everywhere(tmp_path, Device(LoggedDisk(tmp_path), broken=True))
    assert found and all(wrong and all(one.startswith("engine") for one in wrong) for wrong in found.values()), found


def package(folder: Path, version: str) -> Path:
    tree = folder / f"tree-{version}"
    for n in range(30):
        path = tree / f"usr/lib/sonosweep/site/part{n}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"VERSION = {version!r}\n" * 100)
    (tree / "DEBIAN").mkdir()
    fields = {"Package": "sonosweep", "Version": version, "Architecture": "all", "Maintainer": "m <m@x.invalid>", "Description": "x"}
    (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    path = folder / f"{version}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def test_an_update_that_is_cut_off_leaves_one_whole_version(tmp_path):
    (tmp_path / "keys").mkdir()
    make_key(tmp_path / "maker", tmp_path / "keys/maker.pem")
    old, new = package(tmp_path, "1.0"), package(tmp_path, "1.1")
    for one in (old, new):
        sign(one, tmp_path / "maker")
    disk = LoggedDisk(tmp_path)
    with disk.mounted():
        root = disk.mount / "root"
        for part in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"):
            (root / part).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        updating = Updating(Dpkg(root), Journal(disk.mount / "update"), lambda: False, lambda: True)
        updating.update(old, tmp_path / "keys")
        os.sync()
        begun = disk.now()
        updating.update(new, tmp_path / "keys")
    counts = {"1.0": 0, "1.1": 0}
    for point, image in disk.cuts(POINTS, random.Random(SEED), after=begun):
        with restarted(image, tmp_path / "restarted") as found:
            recover(tmp_path, found)
            version = Dpkg(found / "root").installed()
            counts[version] += 1
            parts = sorted((found / "root/usr/lib/sonosweep/site").iterdir())
            assert len(parts) == 30 and {part.read_text() for part in parts} == {f"VERSION = {version!r}\n" * 100}, point
    say(f"{len(disk.entries) - begun} writes and flushes, versions after {sum(counts.values())} cuts: {counts}")
    assert min(counts.values()) > 0


def recover(folder: Path, root: Path) -> None:
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "dpkg").write_text(f'#!/bin/sh\nexec {shutil.which("dpkg")} --root={root}/root "$@"\n')
    (tools / "dpkg").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["sh", str(RECOVER), str(root / "update")], check=True, env=environment, stdout=subprocess.DEVNULL)
