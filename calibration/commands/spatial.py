"""``sonosweep calibrate spatial``: ImageToProbe from a tracked sequence over an N-wire phantom."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from calibration.phantom import BadPhantom, Phantom, read_phantom
from calibration.spatial import AXES, CannotCalibrate, Observations, SpatialFit, calibrated, observed
from calibration.spatial_errors import errors, errors_on
from calibration.spatial_picture import draw_spatial
from calibration.wire_sweep import WireSweep, read_wire_sweep
from edge.commands.options import add_json
from edge.commands.outputs import check_outputs
from edge.console import progress, result, say, table
from edge.files import BadProbeFile, ProbeDoesNotFit, ProbeFile, open_sweep, read_probe, write_probe
from edge.files.probe import Spatial, SpatialErrors
from edge.files.sequence import SequenceFile
from edge.messages import Geometry
from edge.transform import Transform

SUMMARY = "ImageToProbe of a tracked probe, from a sequence over an N-wire phantom that a PLUS configuration describes"
EXAMPLES = """  sonosweep calibrate spatial wires.igs.mha --phantom PlusDeviceSet.xml -o probe.json --picture probe.png
  sonosweep calibrate spatial wires.igs.mha --phantom PlusDeviceSet.xml --validation more.igs.mha -o probe.json --probe L14-5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sequences and phantom in, probe file out."""
    parser.add_argument("sequence", type=Path, metavar="SEQ", help="PLUS sequence with the transforms of a tracker, over the phantom")
    parser.add_argument(
        "--phantom", type=Path, required=True, metavar="XML", help="PLUS configuration: PhantomDefinition, PhantomToReference"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PROBE.json", help="where the probe file is written")
    parser.add_argument("--validation", type=Path, metavar="SEQ", help="another sequence over the phantom, to judge the result by")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="also draw wires and errors")
    parser.add_argument("--axes", choices=AXES, default="orthogonal", help="what the image's axes may be (%(default)s)")
    parser.add_argument("--spacing-mm", type=float, metavar="MM", help="about how large a pixel is, where the sequence does not say")
    parser.add_argument(
        "--depth-mm", type=float, default=0.0, help="imaging depth, so that the file is refused at another one (0: not known)"
    )
    parser.add_argument("--probe", default="this probe", metavar="NAME", help="name or serial number of the probe (%(default)s)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Find the wires, calibrate, judge, write, tell."""
    inputs = (options.sequence, options.phantom, options.validation)
    check_outputs((options.output, options.picture), inputs)
    phantom = read_phantom(options.phantom)
    if phantom.to_reference is None:
        raise BadPhantom(f"{options.phantom}: has no PhantomToReference; register the phantom first, with PLUS's fCal or its landmarks")
    sweep = read_wire_sweep(options.sequence, phantom, options.spacing_mm, watched=watching("calibration"))
    seen = _observations(sweep, phantom, phantom.to_reference)
    fit = calibrated(seen, phantom, options.axes)
    others = None
    if options.validation:
        second = read_wire_sweep(options.validation, phantom, options.spacing_mm, sweep.orientation, watched=watching("validation"))
        others = _observations(second, phantom, phantom.to_reference)
    probe = _kept(options.output, _probe(options, phantom, sweep, seen, fit, others))
    write_probe(options.output, probe)
    if options.picture:
        number = int(seen.images[len(seen) // 2])
        draw_spatial(options.picture, _image(options.sequence, number), number, seen, phantom, fit, others)
    result(_answer(options, probe, sweep, seen, fit), as_json=options.json, text=_text(options, probe, sweep, seen, phantom, fit))
    return 0


def now() -> str:
    """When a calibration was made: UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def watching(label: str) -> Callable[[Iterable[int], int], Iterable[int]]:
    """A bar over the images of a sequence."""

    def watched(images: Iterable[int], count: int) -> Iterable[int]:
        return progress(images, total=count, label=label, unit="image")

    return watched


def _observations(sweep: WireSweep, phantom: Phantom, to_reference: Transform) -> Observations:
    if not sweep.tracked:
        raise CannotCalibrate(f"{sweep.path}: no image with wires has a ProbeToReference or ProbeToTracker; record it with a tracker")
    return observed(sweep.tracked, phantom, sweep.spacing_mm, to_reference)


def _image(path: Path, number: int) -> NDArray[Any]:
    sweep = open_sweep(path)
    assert isinstance(sweep, SequenceFile)
    return next(islice(sweep.images(), number, None))


def _probe(
    options: argparse.Namespace, phantom: Phantom, sweep: WireSweep, seen: Observations, fit: SpatialFit, others: Observations | None
) -> ProbeFile:
    spatial = Spatial(
        phantom=phantom.name,
        sequence=options.sequence.name,
        axes=fit.axes,
        axes_angle_deg=fit.axes_angle_deg,
        registration_error_mm=phantom.registration_error_mm,
        calibration=errors(seen, phantom, fit.image_to_probe.matrix, fit.inliers),
        validation=None if others is None else errors_on(others, phantom, fit),
    )
    width, height = sweep.size
    return ProbeFile(
        probe=options.probe,
        date=now(),
        geometry=Geometry(width=width, height=height, spacing_mm=fit.spacing_mm, depth_mm=options.depth_mm),
        image_to_probe=tuple(fit.image_to_probe.matrix.ravel().tolist()),
        spatial=spatial,
    )


def _kept(path: Path, made: ProbeFile) -> ProbeFile:
    """``made``, with the lag and the scale check of the probe file that it replaces, where that is for the same size, spacing and depth."""
    try:
        before = read_probe(path)
    except BadProbeFile:
        return made
    images = made.geometry
    try:
        before.check_fits(str(path), images.width, images.height, images.spacing_mm, images.depth_mm)
    except ProbeDoesNotFit as wrong:
        say(f"lag and scale check are not kept, measure them again: {str(wrong).partition(';')[0]}", "warning")
        return made
    say(f"{path}: lag ({before.lag_ms:.1f} ms) and scale check of {before.probe}, {before.date}, are kept")
    return msgspec.structs.replace(made, lag_ms=before.lag_ms, temporal=before.temporal, scale=before.scale)


def _answer(options: argparse.Namespace, probe: ProbeFile, sweep: WireSweep, seen: Observations, fit: SpatialFit) -> dict[str, object]:
    return {
        "file": str(options.output),
        "picture": str(options.picture) if options.picture else None,
        "images": sweep.images,
        "images_with_wires": len(seen),
        "closed_form": fit.closed.matrix.ravel().tolist(),
        **msgspec.to_builtins(probe),
    }


def _text(options: argparse.Namespace, probe: ProbeFile, sweep: WireSweep, seen: Observations, phantom: Phantom, fit: SpatialFit) -> str:
    assert probe.spatial is not None
    rows = _rows("calibration", probe.spatial.calibration)
    if probe.spatial.validation is not None:
        rows += _rows("validation", probe.spatial.validation)
    lateral, axial = fit.spacing_mm
    lines = [
        table(rows, list(rows[0])),
        "",
        f"wires in {len(seen)} of {sweep.images} images; pixels of {lateral:.5f} x {axial:.5f} mm, axes {fit.axes_angle_deg:.2f} degrees",
        "ImageToProbe",
        *("  " + " ".join(f"{value:11.5f}" for value in row) for row in fit.image_to_probe.matrix),
    ]
    if phantom.registration_error_mm is not None:
        lines.append(f"PhantomToReference was registered to {phantom.registration_error_mm:.2f} mm: that is in these errors")
    return "\n".join([*lines, f"written to {options.output}; use it with --probe"])


def _rows(name: str, found: SpatialErrors) -> list[dict[str, object]]:
    kinds = (("in space", found.space_mm), ("out of plane", found.out_of_plane_mm), ("in plane", found.in_plane_mm))
    return [
        {
            "images": name,
            "error": kind,
            "mean mm": round(one.mean, 3),
            "deviation": round(one.deviation, 3),
            "rms": round(one.rms, 3),
            "95 % below": round(one.p95, 3),
            "left out": found.outliers if kind == "in space" else "",
        }
        for kind, one in kinds
    ]
