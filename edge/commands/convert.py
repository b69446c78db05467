"""``sonosweep convert``: sweeps from and into other formats, and files into one archive."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edge.commands.options import add_json
from edge.commands.outputs import check_outputs
from edge.console import progress, result
from edge.files import CannotWrite, Crop, SweepFile, open_sweep, parse_crop, write_sweep
from edge.files.archive import write_archive
from edge.files.tus_rec import TABLE, check_table, write_tus_rec
from edge.messages import Frame
from edge.placed_images import as_images

SUMMARY = "a sweep from or into another format: video, DICOM clip, TUS-REC, IPASC; or files into a ZIP with a manifest"
EXAMPLES = """  sonosweep convert clip.mp4 -o sweep.igs.mha --spacing-mm 0.2 --crop auto
  sonosweep convert screen.avi -o sweep.igs.mha --spacing-mm 0.2 0.15 --crop 160,60,640,480
  sonosweep convert clip.dcm -o sweep.igs.mha
  sonosweep convert scans/LH_Par_C.h5 -o sweep.igs.mha --calibration calib_matrix.csv
  sonosweep convert tracked.igs.mha -o scan.h5                       # TUS-REC, calib_matrix.csv beside it
  sonosweep convert sweep.mcap -o sweep.ipasc.h5                     # its photoacoustic frames
  sonosweep convert volume.nrrd sweep.mcap -o leg.zip                # `sonosweep info leg.zip` checks it"""
LARGEST_SCAN = 4 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """From what, into what, and what the file does not say."""
    parser.add_argument("inputs", type=Path, nargs="+", metavar="FILE", help="a sweep; for a .zip any files")
    output = "a sweep (.igs.mha), a scan of TUS-REC (.h5), photoacoustic frames (.ipasc.h5) or an archive (.zip)"
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=output)
    parser.add_argument("--spacing-mm", type=float, nargs="+", metavar="MM", help="pixel size: one number, or lateral and axial")
    parser.add_argument("--crop", metavar="AREA", help="the image's place in the picture: auto, or LEFT,TOP,WIDTH,HEIGHT in pixels")
    parser.add_argument("--calibration", type=Path, metavar="CSV", help="TUS-REC's calib_matrix.csv, where it lies elsewhere")
    parser.add_argument("--plus-config", type=Path, metavar="XML", help="PLUS configuration with the ImageToProbe calibration")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Convert and tell what was written."""
    output: Path = options.output
    name = output.name.lower()
    writer = next((write for ending, write in WRITERS.items() if name.endswith(ending)), None)
    check_outputs([output, output.with_name(TABLE) if writer is _write_scan else None], options.inputs)
    if output.suffix.lower() == ".zip":
        names = write_archive(output, options.inputs, {})
        answer: dict[str, Any] = {"output": str(output), "files": names}
        result(answer, as_json=options.json, text=f"{output}: {len(names)} files and their manifest")
        return 0
    if len(options.inputs) != 1:
        raise CannotWrite(f"{output}: one sweep makes one file; only a .zip takes several")
    if writer is None:
        raise CannotWrite(f"{output}: can be {', '.join(WRITERS)} or .zip")
    sweep = open_sweep(
        options.inputs[0],
        plus_config=options.plus_config,
        spacing_mm=_spacing(options.spacing_mm),
        crop=parse_crop(options.crop) if options.crop else None,
        calibration=options.calibration,
    )
    aspect = getattr(sweep, "pixel_aspect", Fraction(1))
    if len(options.spacing_mm or ()) == 1 and aspect != 1:
        shape = f"{aspect.numerator}:{aspect.denominator}"
        raise CannotWrite(f"{sweep.path}: its pixels are {shape} and not square; give both sizes: --spacing-mm LATERAL AXIAL")
    count = writer(output, sweep)
    crop: Crop | None = getattr(sweep, "crop", None)
    lateral, axial = sweep.geometry.spacing_mm
    answer = {"output": str(output), "frames": count, "spacing_mm": [lateral, axial], "crop": list(crop) if crop else None}
    area = f", cut out at {','.join(map(str, crop))}" if crop else ""
    result(answer, as_json=options.json, text=f"{output}: {count} frames of {lateral:g} x {axial:g} mm a pixel{area}")
    return 0


def _frames(sweep: SweepFile) -> Iterator[Frame]:
    frames = sweep.frames() if sweep.geometry.kind == "linear" else as_images(sweep.frames())
    yield from progress(frames, total=sweep.frame_count, label="converting")


def _write_sequence(path: Path, sweep: SweepFile) -> int:
    frames = (frame for frame in _frames(sweep) if frame.modality == "bmode")
    return write_sweep(path, frames, pose_source=sweep.pose_source, direction=sweep.direction, direction_source=sweep.direction_source)


def _write_scan(path: Path, sweep: SweepFile) -> int:
    images, poses, geometry = [], [], sweep.geometry
    if sweep.pose_source:
        raise CannotWrite(f"{path}: the poses were estimated ({sweep.pose_source}); a scan of TUS-REC is what a tracker measured")
    check_table(path, geometry.spacing_mm, np.eye(4))
    for frame in as_images(_frames(sweep)):
        if frame.modality != "bmode":
            continue
        if (pose := frame.pose) is None or frame.pixels.dtype != np.uint8 or frame.geometry.spacing_mm != geometry.spacing_mm:
            raise CannotWrite(f"{path}: frame {frame.sequence} has no pose, or is not 8-bit; a scan of TUS-REC has both for every frame")
        images.append(frame.pixels)
        poses.append(pose)
        if len(images) * images[0].nbytes > LARGEST_SCAN:
            raise CannotWrite(f"{path}: the scan is larger than {LARGEST_SCAN >> 30} GiB; cut the sweep")
    if not images:
        raise CannotWrite(f"{path}: there is no frame to write")
    write_tus_rec(path, np.stack(images), poses, geometry.spacing_mm, np.eye(4))
    return len(images)


def _write_photoacoustic(path: Path, sweep: SweepFile) -> int:
    from edge.files.ipasc import write_ipasc  # brings h5py

    return write_ipasc(path, progress(sweep.frames(), total=sweep.frame_count, label="converting"))


WRITERS = {".ipasc.h5": _write_photoacoustic, ".ipasc.hdf5": _write_photoacoustic, ".h5": _write_scan, ".mha": _write_sequence}


def _spacing(numbers: list[float] | None) -> tuple[float, float] | None:
    if not numbers:
        return None
    if len(numbers) > 2 or not all(0.001 <= number <= 10 for number in numbers):
        raise CannotWrite(f"--spacing-mm {' '.join(map(str, numbers))}: one or two numbers between 0.001 and 10")
    return numbers[0], numbers[-1]
