"""``sonosweep reconstruct``: a recorded sweep into a volume, offline."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from edge.commands.accuracy import Truth, accuracy, told
from edge.commands.options import MODEL_HELP, PRESET_HELP, add_calibration, add_json
from edge.commands.outputs import check_outputs
from edge.commands.run import open_reconstructor
from edge.compounding import CHANNEL_COUNT, MEASURED, VoxelCounts
from edge.config import Config, Direction, MotionConfig, VolumeConfig
from edge.console import facts, progress, result, say
from edge.errors import SonosweepError
from edge.faults import FAULTS, Effect
from edge.files import CannotWrite, SweepFile, check_sweep_path, open_sweep, write_sweep
from edge.files.volumes import check_volume_path
from edge.messages import FaultRaised, Frame, Message, Pose
from edge.motion import SOURCES
from edge.picture import draw
from edge.placed_images import as_images
from edge.reconstructor import Reconstructor
from edge.saving import save_volumes
from edge.scan_geometry import placed_size
from edge.transform import Transform


class UnusedOption(SonosweepError):
    """An option was given that the chosen source of motion would ignore."""


SUMMARY = "place the frames of a recorded sweep into a volume"
EXAMPLES = """  sonosweep reconstruct sweep.igs.mha -o volume.nrrd --direction +           # motion from the images alone
  sonosweep reconstruct sweep.igs.mha -o volume.nii.gz --direction + --spacing-mm 0.25 --fill-holes --picture volume.png
  sonosweep reconstruct sweep.mcap -o volume.nrrd --model bundle.zip --direction - --sweep-out poses.igs.mha
  sonosweep reconstruct tracked.igs.mha -o volume.nrrd --motion recorded     # by the poses of its tracker
  sonosweep reconstruct spine.igs.mha --motion recorded --plus-config PlusDeviceSet.xml -o spine.mha
  sonosweep reconstruct tracked.igs.mha --motion recorded --probe probe.json -o volume.nrrd    # calibrated by `sonosweep calibrate`
  sonosweep reconstruct sweep.mcap -o volume.nrrd --motion constant --speed-mm-s 12 --direction +"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the offline reconstruction."""
    volume, motion = VolumeConfig(), MotionConfig()
    parser.add_argument("sweep", type=Path, help="recorded sweep: .igs.mha, .igs.nrrd or .mcap")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="VOLUME", help="volume to write: .nrrd, .mha or .nii.gz")
    add_calibration(parser)
    parser.add_argument("--motion", choices=tuple(SOURCES), default=motion.source, help="where poses come from (%(default)s)")
    parser.add_argument("--model", default="", metavar="BUNDLE", help=MODEL_HELP)
    parser.add_argument("--preset", default="", metavar="JSON", help=PRESET_HELP)
    parser.add_argument("--speed-mm-s", type=float, default=motion.speed_mm_s, help="elevational speed for --motion constant (%(default)s)")
    parser.add_argument("--direction", choices=get_args(Direction)[:2], default="", help="sweep direction, + or - elevational")
    parser.add_argument("--spacing-mm", type=float, default=volume.spacing_mm, help="voxel size (%(default)s)")
    parser.add_argument("--compounding", choices=("mean", "maximum", "latest"), default=volume.compounding)
    parser.add_argument(
        "--max-gap-mm", type=float, default=volume.max_gap_mm, help="widest gap between frames to interpolate (%(default)s)"
    )
    parser.add_argument(
        "--light-max-gap-mm", type=float, default=volume.light_max_gap_mm, help="the same between photoacoustic frames (%(default)s)"
    )
    parser.add_argument("--fill-holes", action="store_true", help="fill small holes at the end; filled voxels are flagged")
    parser.add_argument(
        "--pulse-energy-mj",
        type=float,
        default=volume.pulse_energy_mj,
        metavar="MJ",
        help="scale photoacoustic samples to this pulse energy where the probe told its laser's (0: off)",
    )
    parser.add_argument("--backend", choices=("auto", "host", "cuda"), default=volume.backend)
    parser.add_argument("--threads", type=int, default=volume.threads, help="threads of the host backend (0 = all cores)")
    parser.add_argument("--sweep-out", type=Path, metavar="SWEEP", help="also write the frames with the poses they got: .igs.mha")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="also draw slices, projections and the probe path")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Reconstruct and answer with the counts."""
    _check(options)
    sweep = open_sweep(options.sweep, plus_config=options.plus_config, probe=options.probe)
    reconstructor = open_reconstructor(_config(options), say_bricks=False)
    with reconstructor.compounder:
        begun = time.perf_counter()
        placed = _feed(reconstructor, progress(sweep.frames(), total=sweep.frame_count, label="placing"))
        seconds = time.perf_counter() - begun
        volumes = reconstructor.volumes()
        answer = _answer(reconstructor, seconds)
    files = list(save_volumes(options.output, volumes))
    if options.picture and volumes:
        poses = [placed.poses[sequence] for sequence in sorted(placed.poses)]
        draw(options.picture, volumes, poses, placed.size, f"{options.sweep.name}   motion: {answer['motion']}")
        files.append(str(options.picture))
    if options.sweep_out and placed.poses:
        _write_sweep(options.sweep_out, sweep, placed, reconstructor)
        files.append(str(options.sweep_out))
    answer |= {"volume": files[0] if volumes else None, "files": files, "accuracy": _accuracy(options, reconstructor, placed)}
    answer["faults"] = dict(placed.faults)
    if not volumes:
        say("no frame was placed, so there is no volume; see the faults above")
    result(answer, as_json=options.json, text=_text(answer))
    return 0 if volumes and not placed.broken else 1


def _check(options: argparse.Namespace) -> None:
    """Everything that can be refused before the work is."""
    check_volume_path(options.output)
    if options.output.name.lower().endswith((".igs.mha", ".igs.nrrd")):
        raise CannotWrite(f"{options.output}: is the name of a sweep; a volume's ends with .nrrd, .mha or .nii.gz")
    if options.sweep_out:
        check_sweep_path(options.sweep_out)
    if options.picture and options.picture.suffix.lower() != ".png":
        raise CannotWrite(f"{options.picture}: a picture's name ends with .png")
    check_outputs((options.output, options.sweep_out, options.picture), (options.sweep, options.plus_config, options.probe))
    idle = {"model": "network", "preset": "constant decorrelation network", "direction": "constant decorrelation network"}
    for option, sources in idle.items():
        if getattr(options, option) and options.motion not in sources.split():
            raise UnusedOption(
                f"--{option} says nothing to --motion {options.motion}; leave it out, or choose {sources.replace(' ', ', ')}"
            )


def _config(options: argparse.Namespace) -> Config:
    motion = MotionConfig(
        source=options.motion,
        model=options.model or MotionConfig().model,
        preset=options.preset,
        speed_mm_s=options.speed_mm_s,
        direction=options.direction,
    )
    volume = VolumeConfig(
        spacing_mm=options.spacing_mm,
        compounding=options.compounding,
        max_gap_mm=options.max_gap_mm,
        light_max_gap_mm=options.light_max_gap_mm,
        fill_holes=options.fill_holes,
        pulse_energy_mj=options.pulse_energy_mj,
        backend=options.backend,
        threads=options.threads,
    )
    return Config(motion=motion, volume=volume)


@dataclass
class _Placed:
    """What is remembered of the frames: poses by sequence number as placed, and the tracked ones."""

    poses: dict[int, Transform] = field(default_factory=dict)
    truth: Truth = field(default_factory=Truth)
    size: tuple[int, int] = (0, 0)
    faults: Counter[str] = field(default_factory=Counter)
    broken: bool = False  # a fault ended the sweep before its last frame
    key: tuple[int, int] | None = None  # of the sweep: a file may hold several, and the last one is the volume


def _feed(reconstructor: Reconstructor, frames: Iterable[Frame]) -> _Placed:
    placed = _Placed()
    for frame in frames:
        if frame.sweep_key != placed.key:
            _note(reconstructor.finish("next"), placed)
            placed = _Placed(size=placed_size(frame.geometry), key=frame.sweep_key)
        placed.truth.note(frame)
        _note(reconstructor.feed(frame), placed)
    _note(reconstructor.finish("stopped"), placed)
    return placed


def _note(messages: list[Message], placed: _Placed) -> None:
    for message in messages:
        if isinstance(message, FaultRaised):
            placed.faults[message.name] += 1
            placed.broken |= FAULTS[message.name].effect is Effect.BREAK
            say(f"{message.name}: {FAULTS[message.name].operator} ({message.detail})")
        elif isinstance(message, Pose):
            placed.poses[message.sequence] = Transform("Image", "Reference", np.reshape(message.image_to_reference, (4, 4)))


def _write_sweep(path: Path, sweep: SweepFile, placed: _Placed, reconstructor: Reconstructor) -> None:
    frames = (frame for frame in sweep.frames() if frame.sweep_key == placed.key)
    write_sweep(
        path,
        progress(as_images(frames), total=sweep.frame_count, label="writing"),
        poses=placed.poses,
        pose_source=reconstructor.motion.name,
        direction=reconstructor.direction,
        direction_source=reconstructor.direction_source,
    )


def _accuracy(options: argparse.Namespace, reconstructor: Reconstructor, placed: _Placed) -> list[dict[str, Any]]:
    """Where motion was estimated and the sweep is tracked too: how far apart they are, beside the baselines."""
    if not reconstructor.motion.relative:
        return []
    name, direction = reconstructor.motion.name, reconstructor.direction
    return accuracy(name, direction, placed.truth, placed.poses, placed.size, options.speed_mm_s)


def _text(answer: dict[str, Any]) -> str:
    shown = {key: value for key, value in answer.items() if key not in ("files", "accuracy")} | {"wrote": answer["files"]}
    return "\n".join([facts(shown), *told(answer["accuracy"])])


def _answer(reconstructor: Reconstructor, seconds: float) -> dict[str, Any]:
    counts, compounder = reconstructor.counts, reconstructor.compounder
    states = np.sum([compounder.voxel_counts(channel) for channel in range(CHANNEL_COUNT)], axis=0).tolist()
    return {
        "frames": counts.frames,
        "placed": counts.placed,
        "lost": counts.lost,
        "unplaced": counts.unplaced,
        "ignored": counts.ignored,
        "ended": reconstructor.ended,
        "bricks": sum(compounder.brick_count(channel) for channel in range(CHANNEL_COUNT)),
        "voxels": sum(states[MEASURED:]),
        **{f"voxels_{state}": count for state, count in zip(VoxelCounts._fields, states, strict=True) if state != "empty"},
        "seconds": round(seconds, 3),
        "frames_per_s": round(counts.frames / max(seconds, 1e-9), 1),
        "direction": reconstructor.direction,
        "direction_source": reconstructor.direction_source,
        "motion": reconstructor.motion.name,
        "backend": compounder.backend,
    }
