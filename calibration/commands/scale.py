"""``sonosweep calibrate scale``: is a pixel as large as the probe says?"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from calibration.commands.spatial import now, watching
from calibration.phantom import read_phantom
from calibration.scale import ASSUMED_M_S, AXES, TOLERANCE_PERCENT, cure, measured_spacing, off_percent
from calibration.spatial import CannotCalibrate
from calibration.wire_sweep import read_wire_sweep, stated_spacing
from edge.commands.options import add_json
from edge.console import result, table
from edge.files import open_sweep, read_probe, write_probe
from edge.files.probe import Scale

SUMMARY = "the pixel spacing that a probe declares against the one measured on a phantom; exit status 1 where they differ"
EXAMPLES = """  sonosweep calibrate scale wires.igs.mha --phantom PlusDeviceSet.xml
  sonosweep calibrate scale wires.igs.mha --phantom PlusDeviceSet.xml --declared-mm 0.08 0.08 --medium-m-s 1482
  sonosweep calibrate scale wires.mcap --phantom PlusDeviceSet.xml          # a recording of the device
  sonosweep calibrate scale wires.igs.mha --phantom PlusDeviceSet.xml --probe probe.json    # and keep the verdict in it"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sequence and phantom in, verdict out."""
    parser.add_argument("sequence", type=Path, metavar="SEQ", help="PLUS sequence or recording over the phantom; no tracker is needed")
    parser.add_argument("--phantom", type=Path, required=True, metavar="XML", help="PLUS configuration with the PhantomDefinition")
    parser.add_argument(
        "--declared-mm", type=float, nargs=2, metavar=("LATERAL", "AXIAL"), help="pixel spacing, where the sequence has none"
    )
    parser.add_argument(
        "--medium-m-s", type=float, default=ASSUMED_M_S, help="speed of sound around the wires (%(default)s; water of 20 C: 1482)"
    )
    parser.add_argument("--tolerance-percent", type=float, default=TOLERANCE_PERCENT, help="what may differ (%(default)s)")
    parser.add_argument("--probe", type=Path, metavar="PROBE.json", help="keep the verdict in this probe file")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, compare, keep, tell; 0 where the spacing is right."""
    phantom = read_phantom(options.phantom)
    probe = read_probe(options.probe) if options.probe else None
    stated = stated_spacing(open_sweep(options.sequence))
    declared = tuple(options.declared_mm) if options.declared_mm else stated
    if declared is None:
        raise CannotCalibrate(f"{options.sequence}: declares no pixel spacing; give what the front end declares with --declared-mm")
    if not (min(declared) > 0 and 500 <= options.medium_m_s <= 5000 and options.tolerance_percent > 0):
        raise CannotCalibrate("--declared-mm and --tolerance-percent are above 0, --medium-m-s lies between 500 and 5000")
    sweep = read_wire_sweep(options.sequence, phantom, None if stated else declared[0], watched=watching("wires"))
    measured = measured_spacing(sweep, phantom)
    off = off_percent(measured, declared, options.medium_m_s)
    passed = bool((abs(off) <= options.tolerance_percent).all())
    scale = Scale(
        sequence=options.sequence.name,
        declared_mm=declared,
        measured_mm=(float(measured.spacing_mm[0]), float(measured.spacing_mm[1])),
        deviation_mm=(float(measured.deviation_mm[0]), float(measured.deviation_mm[1])),
        images=measured.images,
        tolerance_percent=options.tolerance_percent,
        passed=passed,
        date=now(),
    )
    if probe is not None:
        probe.check_fits(str(options.sequence), *sweep.size, None)
        write_probe(options.probe, msgspec.structs.replace(probe, scale=scale))
    told = cure(off, declared, options.medium_m_s, options.tolerance_percent)
    rows = [
        {
            "": name,
            "declared mm": f"{declared[axis]:.5f}",
            "measured mm": f"{scale.measured_mm[axis]:.5f} +- {scale.deviation_mm[axis]:.5f}",
            "off %": round(float(off[axis]), 2),
        }
        for axis, name in enumerate(AXES)
    ]
    verdict = f"{'passed' if passed else 'FAILED'} (tolerance {options.tolerance_percent:g} %, {measured.images} images)"
    text = "\n".join([table(rows, list(rows[0])), "", verdict, *([told] if told else [])])
    result({**msgspec.to_builtins(scale), "off_percent": off.tolist(), "cure": told}, as_json=options.json, text=text)
    return 0 if passed else 1
