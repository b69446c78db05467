"""``sonosweep demo``: a whole device on this machine, with a played or simulated probe."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edge.commands.accuracy import Rows, Truth, accuracy
from edge.commands.demo_light import add_light, light_settings, pulse_energy_mj, simulated, vessels
from edge.commands.demo_text import demo_text
from edge.commands.options import MODEL_HELP, PRESET_HELP, add_calibration, add_json
from edge.config import BridgeConfig, Config, Direction, MotionConfig, RecordConfig, TabletConfig, VolumeConfig
from edge.console import result, say
from edge.daemon import sole
from edge.errors import SonosweepError
from edge.faults import FAULTS
from edge.files import open_sweep, write_sweep
from edge.files.volumes import read_volume
from edge.latency import Latencies
from edge.local_device import LocalDevice
from edge.messages import Bricks, FaultRaised, Frame, Pose, Status, SweepEnded
from edge.motion import SOURCES, open_motion
from edge.motion.bundle import find_bundle
from edge.picture import draw
from edge.placed_images import as_images
from edge.processes import die_with_parent, ended_by_sigterm
from edge.scan_geometry import placed_size
from edge.services import SERVICES
from edge.tablet.at_home import begin_first, stay
from edge.transform import Transform

SUMMARY = "probe, bridge, reconstruction and recording on this machine; ends with files for 3D Slicer"
EXAMPLES = """  sonosweep demo                                   # simulate a sweep, play it, place it by its images alone
  sonosweep demo --photoacoustic --wavelengths 750,850   # vessels and their oxygen, measured against what is known of them
  sonosweep demo --motion recorded                 # the same, placed by its own poses
  sonosweep demo --sweep sweep.igs.mha --direction + --out out   # play a recorded one at its own rate
  sonosweep demo --sweep sweep.igs.mha --rate max --spacing-mm 0.25 --json
  sonosweep demo --no-stay                         # end by itself, as it does outside a terminal"""
SIMULATED_DIRECTION: Direction = "+"  # the simulated hand's, said as an operator's preset says it: no image could tell
SILENT_S = 30.0
SERVICE_WORD_S = 2.0


class DemoFailed(SonosweepError):
    """The demo did not come to its end."""


@dataclass
class Heard:
    """What the services have said during the demo."""

    poses: dict[int, Transform] = field(default_factory=dict)
    shown_ns: dict[int, int] = field(default_factory=dict)  # frame to the time when its bricks were here
    ended: dict[str, SweepEnded] = field(default_factory=dict)
    bricks: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to play, how, and where to leave the files."""
    parser.add_argument("--sweep", type=Path, metavar="FILE", help="recorded sweep to play (default: simulate one)")
    add_light(parser)
    add_calibration(parser)
    parser.add_argument("--out", type=Path, default=Path("demo-out"), metavar="DIR", help="folder for the files (%(default)s)")
    parser.add_argument("--rate", default="1", help="1 = the sweep's own rate, 2 = twice as fast ..., max (%(default)s)")
    parser.add_argument("--motion", choices=tuple(SOURCES), default=MotionConfig().source, help="where poses come from (%(default)s)")
    parser.add_argument("--model", default=MotionConfig().model, metavar="BUNDLE", help=MODEL_HELP)
    parser.add_argument("--preset", default="", metavar="JSON", help=PRESET_HELP)
    parser.add_argument("--speed-mm-s", type=float, default=MotionConfig().speed_mm_s, help="for --motion constant (%(default)s)")
    parser.add_argument("--compounding", choices=("mean", "maximum", "latest"), default=VolumeConfig().compounding)
    parser.add_argument("--fill-holes", action="store_true", help="fill small holes at the end; filled voxels are flagged")
    parser.add_argument("--direction", choices=("+", "-"), default="", help="sweep direction, where motion is estimated (simulated: +)")
    parser.add_argument("--spacing-mm", type=float, default=VolumeConfig().spacing_mm, help="voxel size (%(default)s)")
    parser.add_argument("--backend", choices=("auto", "host", "cuda"), default="auto")
    parser.add_argument("--port", type=int, default=TabletConfig().port, help="of the tablet page (%(default)s)")
    parser.add_argument(
        "--stay",
        action=argparse.BooleanOptionalAction,
        default=sys.stdin.isatty() and sys.stdout.isatty(),
        help="keep the device and its tablet page running until Ctrl-C (the default in a terminal)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Play, watch, write, report. 0 only where the sweep came to its end, was recorded whole, and left a volume."""
    out: Path = options.out
    with sole(out, ".demo"), ended_by_sigterm():
        return _run(options, out)


def _run(options: argparse.Namespace, out: Path) -> int:
    motion = _motion(options)
    open_motion(motion)  # what is missing is said before the work
    settings = light_settings(options)
    sweep = simulated(out, settings) if settings else options.sweep
    total = open_sweep(sweep, plus_config=options.plus_config, probe=options.probe).frame_count
    run_dir = Path(tempfile.mkdtemp(prefix="sonosweep-"))
    try:
        config = _config(options, motion, run_dir, out)
        say(f"starting {', '.join(SERVICES)} ...")
        with LocalDevice(config, tuple(SERVICES)) as device:
            say(f"backend: {device.status['run'].backend}")
            trace = run_dir / "trace.json"
            begin_first(run_dir)
            with subprocess.Popen(_probe(options, sweep, config, trace), stdin=subprocess.PIPE, preexec_fn=die_with_parent) as probe:
                try:
                    heard = _watch(device, probe, total)
                    answer = _report(heard, device, json.loads(trace.read_text()) if trace.exists() else {})
                    truth = Truth()
                    answer["files"] = _files(sweep, heard, truth, out)
                    answer["accuracy"] = _accuracy(config, heard, truth)
                    answer |= vessels(settings, sweep, truth, heard.poses, answer, options)
                    answer["sweep_played"] = sweep.name
                    report = out / "report.json"
                    report.write_text(json.dumps(answer, indent=2) + "\n")
                    answer["files"].append(str(report))
                    result(answer, as_json=options.json, text=demo_text(answer))
                    if options.stay:
                        stay(device, probe)
                finally:
                    probe.terminate()
    finally:
        shutil.rmtree(run_dir)
    complete = heard.ended["run"].reason == heard.ended["record"].reason == "last" and heard.ended["run"].files
    return 0 if complete else 1


def _motion(options: argparse.Namespace) -> MotionConfig:
    """What was asked for. Files by their whole path: the services may work elsewhere."""
    direction: Direction = options.direction or ("" if options.sweep else SIMULATED_DIRECTION)
    return MotionConfig(
        source=options.motion,
        model=str(find_bundle(options.model).absolute()) if options.motion == "network" else options.model,
        preset=str(Path(options.preset).absolute()) if options.preset else "",
        speed_mm_s=options.speed_mm_s,
        direction=direction,
    )


def _config(options: argparse.Namespace, motion: MotionConfig, run_dir: Path, out: Path) -> Config:
    return Config(
        run_dir=str(run_dir),
        bridge=BridgeConfig(endpoint=f"ipc://{run_dir}/probe.ipc", sweeps="operator"),
        motion=motion,
        volume=VolumeConfig(
            spacing_mm=options.spacing_mm,
            compounding=options.compounding,
            fill_holes=options.fill_holes,
            pulse_energy_mj=pulse_energy_mj(options),
            backend=options.backend,
            save=str((out / "recordings").absolute()),
        ),
        tablet=TabletConfig(
            address="0.0.0.0" if options.stay else "127.0.0.1",
            port=options.port if options.stay else 0,
            folder=str((out / "tablet").absolute()),
        ),
        record=RecordConfig(folder=str((out / "recordings").absolute())),
    )


def _probe(options: argparse.Namespace, sweep: Path, config: Config, trace: Path) -> list[str]:
    words = [sys.executable, "-m", "edge", "probe", str(sweep), "--endpoint", config.bridge.endpoint, "--rate", options.rate]
    words += ["--trace", str(trace), "--quiet", "--held"]
    words += ["--probe", str(options.probe)] if options.probe else []
    return words + (["--plus-config", str(options.plus_config)] if options.plus_config else [])


def _watch(device: LocalDevice, probe: subprocess.Popen[bytes], total: int | None) -> Heard:
    """Until both the reconstruction and the recording have ended the sweep."""
    heard, last_progress = Heard(), time.monotonic()
    with tqdm(total=total, desc="placing", unit="frame", file=sys.stderr, disable=None, leave=False) as bar:
        while not {"run", "record"} <= heard.ended.keys():
            for service, message in device.hear(0.2):
                now_ns = time.monotonic_ns()
                if isinstance(message, Pose):
                    heard.poses[message.sequence] = Transform("Image", "Reference", np.reshape(message.image_to_reference, (4, 4)))
                    bar.update()
                elif isinstance(message, Bricks):
                    heard.shown_ns[message.sequence] = now_ns
                    heard.bricks += len(message.coords)
                    bar.set_postfix_str(f"{heard.bricks} brick updates")
                elif isinstance(message, FaultRaised):
                    say(f"{service}: {message.name}: {FAULTS[message.name].operator} {message.detail}")
                elif isinstance(message, SweepEnded):
                    heard.ended[message.service] = message
                elif isinstance(message, Status):
                    continue
                last_progress = time.monotonic()
            if probe.poll() not in (None, 0):
                raise DemoFailed(f"the probe ended with status {probe.returncode}; its words are above")
            if time.monotonic() - last_progress > SILENT_S:
                raise DemoFailed(f"nothing happened for {SILENT_S:.0f} s; the services said: {device.last_words('run')}")
    told = {name: device.status[name] for name in device.status}
    while time.monotonic() - last_progress < SERVICE_WORD_S and any(device.status[name] is told[name] for name in told):
        list(device.hear(0.1))  # their last words on this sweep: a fault said before we listened stands in the status
    return heard


def _report(heard: Heard, device: LocalDevice, sent_ns: dict[str, int]) -> dict[str, Any]:
    ended = heard.ended["run"]
    sent_to_shown = Latencies()
    for sequence, shown in heard.shown_ns.items():
        if str(sequence) in sent_ns:
            sent_to_shown.add("sent_to_bricks", shown - sent_ns[str(sequence)])
    run_status = device.status["run"]
    latency = {
        stage: dict(zip(("p50", "p99", "max"), ms, strict=True)) for stage, ms in (run_status.latency_ms | sent_to_shown.summary()).items()
    }
    return {
        "frames": {
            "sent": len(sent_ns),
            "received": ended.frames,
            "placed": ended.placed,
            "lost": ended.lost,
            "recorded": heard.ended["record"].frames,
        },
        "sweep_ended": ended.reason,
        "motion": ended.motion,
        "direction": ended.direction,
        "direction_source": ended.direction_source,
        "backend": run_status.backend,
        "latency_ms": latency,
        "faults": dict(sum((Counter(status.faults) for status in device.status.values()), Counter())),
        "brick_updates": heard.bricks,
        "messages_missed": device.missed,
    }


def _files(sweep: Path, heard: Heard, truth: Truth, out: Path) -> list[str]:
    """Name the volumes, export the recording as a PLUS sequence with the poses as placed, draw the picture; notes the ``truth``."""
    stem, ended = re.sub(r"\.(igs\.mha|igs\.nrrd|mha|nrrd|mcap)$", "", sweep.name), heard.ended["run"]
    written = [Path(shutil.copy(path, out / re.sub(r"^sweep_[0-9a-f]+_\d+_\d+", stem, Path(path).name))) for path in ended.files]
    volumes = {volume.metadata["channel"]: volume for volume in (read_volume(path) for path in written if "-state" not in path.name)}
    size = (0, 0)
    for path in map(Path, heard.ended["record"].files):
        written.append(path)
        recording = open_sweep(path)
        size = placed_size(recording.geometry)
        images = (frame for frame in _noted(as_images(recording.frames()), truth) if frame.modality == "bmode")
        if first := next(images, None):
            written.append(out / f"{stem}-recorded.igs.mha")
            write_sweep(
                written[-1],
                chain([first], images),
                poses=heard.poses,
                pose_source=ended.motion,
                direction=ended.direction,
                direction_source=ended.direction_source,
            )
    if volumes:
        written.append(out / f"{stem}.png")
        poses = [heard.poses[sequence] for sequence in sorted(heard.poses)]
        draw(
            written[-1],
            volumes,
            poses,
            size,
            f"{sweep.name}   motion: {ended.motion}, direction: {ended.direction} ({ended.direction_source})",
        )
    return [str(path) for path in written]


def _noted(frames: Iterable[Frame], truth: Truth) -> Iterator[Frame]:
    for frame in frames:
        truth.note(frame)
        yield frame


def _accuracy(config: Config, heard: Heard, truth: Truth) -> Rows:
    """Where motion was estimated and the sweep is tracked too: how far apart they are, beside the baselines."""
    ended, motion = heard.ended["run"], config.motion
    if motion.source == "recorded" or truth.geometry is None:
        return []
    size = placed_size(truth.geometry)
    return accuracy(ended.motion, ended.direction, truth, heard.poses, size, motion.speed_mm_s)
