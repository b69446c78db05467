"""``sonosweep info``: what is in a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.commands.options import add_calibration, add_json
from edge.console import facts, progress, result
from edge.files import FORMATS, NoFrames, NoPhysicalSpacing, SweepFile, UnknownFile, UnsupportedFile, open_sweep
from edge.files.archive import check_archive
from edge.files.volumes import StoredVolume, check_volume_path, read_stored
from edge.messages import Frame, Geometry
from edge.motion.recorded import TRACKED
from edge.transform import Transform

SUMMARY = "describe a sweep, a recording or a volume"
EXAMPLES = """  sonosweep info sweep.igs.mha
  sonosweep info spine.igs.mha --plus-config PlusDeviceSet.xml
  sonosweep info sweep.mcap --json
  sonosweep info volume.nii.gz
  sonosweep info leg.zip                             # whether all files of an export are there and unchanged"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and how to answer."""
    parser.add_argument("file", type=Path, help="sweep (docs/files.md), volume (.nrrd, .mha, .nii.gz) or export (.zip)")
    add_calibration(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Read the file to its end, so that what is said holds for all of it."""
    answer = describe(options.file, options.plus_config, options.probe)
    result(answer, as_json=options.json, text=facts(answer))
    return 0


def describe(path: Path, plus_config: Path | None = None, probe: Path | None = None) -> dict[str, Any]:
    """What the file holds, as values that JSON knows. Named errors as :func:`open_sweep` and :func:`read_stored` raise them."""
    if path.suffix.lower() == ".zip":
        return {"file": str(path), "format": "export of sonosweep, all files unchanged", **check_archive(path)}
    try:
        sweep = open_sweep(path, plus_config=plus_config, probe=probe)
    except UnknownFile as wrong:
        if not path.is_file():
            raise
        if not _may_be_volume(path):
            raise UnknownFile(f"{wrong}; and volumes (.nrrd, .mha, .nii.gz)") from None
        return volume_description(read_stored(path))
    except UnsupportedFile as wrong:
        if not _may_be_volume(path):
            raise
        try:
            return volume_description(read_stored(path))
        except UnsupportedFile:
            raise wrong from None
    return sweep_description(sweep)


def _may_be_volume(path: Path) -> bool:
    try:
        check_volume_path(path)
    except UnknownFile:
        return path.name.endswith(".nii")
    return True


def sweep_description(sweep: SweepFile) -> dict[str, Any]:
    """Counts over all frames. Lengths need poses, sizes in mm need a spacing; null where there is none."""
    said: dict[str, Any] = {
        "file": str(sweep.path),
        "format": next(known.name for known in FORMATS if known.endings[0] == f".{sweep.kind}"),
        "kind": "sweep",
    }
    try:
        geometry = sweep.geometry
    except (NoPhysicalSpacing, NoFrames) as wrong:
        counts: dict[str, Any] = {"frames": sweep.frame_count, "frames_per_s": sweep.frames_per_s, "spacing_mm": None, "cure": str(wrong)}
        return {**said, **counts, **sweep.description}
    size_mm = [geometry.width * geometry.spacing_mm[0], geometry.height * geometry.spacing_mm[1]]
    linear = geometry.kind == "linear"
    image = {
        "geometry": geometry.kind,
        "columns_rows" if linear else "beams_samples": [geometry.width, geometry.height],
        "spacing_mm": list(geometry.spacing_mm),
        "image_size_mm": size_mm if linear else [None, geometry.radius_stop_mm - geometry.radius_start_mm],
    }
    frames = progress(sweep.frames(), total=sweep.frame_count, label="reading")
    return {**said, **_walk(frames), **_origin(sweep), **image, **sweep.description}


def _origin(sweep: SweepFile) -> dict[str, str]:
    """What the poses are worth: measured by a tracker, or estimated, by what and in which direction."""
    if not sweep.has_poses:
        return {"pose_source": "", "direction": "", "direction_source": ""}
    if not sweep.pose_source:
        return {"pose_source": TRACKED, "direction": TRACKED, "direction_source": TRACKED}
    return {"pose_source": sweep.pose_source, "direction": sweep.direction, "direction_source": sweep.direction_source}


def _walk(frames: Iterable[Frame]) -> dict[str, Any]:
    """One pass over the frames, one image in memory."""
    keys: dict[tuple[int, int], int] = {}
    poses: dict[str, int] = {"ok": 0, "invalid": 0, "missing": 0}
    modalities: dict[str, int] = {}
    times: list[int] = []
    places: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []  # image centre and normal
    lost, samples = 0, ""
    before: Frame | None = None
    low: int | None = None
    high: int | None = None
    for frame in frames:
        keys[frame.sweep_key] = keys.get(frame.sweep_key, 0) + 1
        poses[frame.pose_status] += 1
        modalities[frame.modality] = modalities.get(frame.modality, 0) + 1
        times.append(frame.timestamp_ns)
        if frame.pose is not None:
            places.append(_place(frame.pose, frame.geometry))
        if before is not None and before.sweep_key == frame.sweep_key:
            lost += max(0, frame.sequence - before.sequence - 1)
        least, most, samples = int(frame.pixels.min()), int(frame.pixels.max()), str(frame.pixels.dtype)
        low, high = least if low is None else min(low, least), most if high is None else max(high, most)
        before = frame
    duration_s = (max(times) - min(times)) / 1e9 if times else 0.0
    return {
        "frames": len(times),
        "frames_lost": lost,
        "modalities": modalities,
        "duration_s": duration_s,
        "frames_per_s": (len(times) - 1) / duration_s if duration_s > 0 else None,
        "samples": samples,
        "sample_values": [low, high],
        "poses": poses,
        **_path(places),
        "sweeps": [{"boot_id": f"{boot:016x}", "sweep": sweep, "frames": count} for (boot, sweep), count in keys.items()],
    }


def _place(pose: Transform, geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The centre of the image (of a convex one its first pixel) in Reference mm, and lateral x axial as a unit vector."""
    middle = ((geometry.width - 1) / 2, (geometry.height - 1) / 2, 0) if geometry.kind == "linear" else (0, 0, 0)
    normal = np.cross(pose.matrix[:3, 0], pose.matrix[:3, 1])
    return pose.apply(middle), normal / max(float(np.linalg.norm(normal)), 1e-300)


def _path(places: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> dict[str, Any]:
    """Length of the way of the image's centre, and its mean step along the normal of the image before (+ is lateral x axial)."""
    if len(places) < 2:
        return {"path_mm": None, "mean_elevational_step_mm": None}
    steps = np.diff([centre for centre, _ in places], axis=0)
    normals = np.array([normal for _, normal in places[:-1]])
    return {
        "path_mm": float(np.linalg.norm(steps, axis=1).sum()),
        "mean_elevational_step_mm": float((steps * normals).sum(1).mean()),
    }


def volume_description(volume: StoredVolume) -> dict[str, Any]:
    """Size, place, values and metadata of a volume."""
    voxels, size = volume.voxels, list(volume.voxels.shape[::-1])
    return {
        "file": str(volume.path),
        "format": {"nrrd": "NRRD volume", "mha": "MetaImage volume", "nifti": "NIfTI volume"}[volume.kind],
        "kind": "volume",
        "voxels": size,
        "spacing_mm": list(volume.spacing_mm),
        "size_mm": [n * abs(s) for n, s in zip(size, volume.spacing_mm, strict=True)],
        "origin_mm": list(volume.origin_mm),
        "type": str(voxels.dtype),
        "values": [voxels.min().item(), voxels.max().item()],
        "voxels_not_zero": int(np.count_nonzero(voxels)),
        "metadata": volume.metadata,
    }
