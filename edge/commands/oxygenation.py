"""``sonosweep oxygenation``: photoacoustic volumes of two or more wavelengths into a volume of blood oxygen saturation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edge.commands.options import add_json, numbers
from edge.commands.outputs import check_outputs
from edge.console import facts, result
from edge.files import CannotWrite
from edge.files.volumes import check_volume_path, read_volume, write_volume
from edge.oxygenation import THRESHOLD, BadWavelengths, Settings, check_one_sweep, oxygen_saturation
from edge.vessel_picture import draw_vessels

SUMMARY = "estimate blood oxygen saturation from photoacoustic volumes of several wavelengths"
EXAMPLES = """  sonosweep oxygenation leg-photoacoustic-*nm.nrrd -o so2.nrrd --picture so2.png --ultrasound leg.nrrd
  sonosweep oxygenation leg-photoacoustic-7*.nrrd leg-photoacoustic-8*.nrrd -o so2.nrrd --mu-eff-per-mm 0.12,0.10
  sonosweep reconstruct sweep.mcap -o leg.nrrd --direction + --pulse-energy-mj 20       # makes such volumes"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Volumes in, a volume out."""
    parser.add_argument("volumes", nargs="+", type=Path, metavar="VOLUME", help="photoacoustic volume of one wavelength; linear samples")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="VOLUME", help="percent of saturation: .nrrd, .mha, .nii.gz")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="also draw the vessels and their saturation, with legends")
    parser.add_argument("--ultrasound", type=Path, metavar="VOLUME", help="of the same sweep: drawn under the vessels in the picture")
    parser.add_argument(
        "--threshold", type=float, default=THRESHOLD, help="grey values that a voxel must exceed at every wavelength (%(default)s)"
    )
    parser.add_argument(
        "--mu-eff-per-mm",
        type=numbers,
        default=(),
        metavar="MU,MU",
        help="effective attenuation of the tissue for each volume: corrects by exp(mu_eff * depth) (default: no correction)",
    )
    parser.add_argument("--surface-mm", type=float, default=0.0, help="depth of the skin in the first image (%(default)s)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Unmix, write, tell."""
    check_volume_path(options.output)
    if options.picture and options.picture.suffix.lower() != ".png":
        raise CannotWrite(f"{options.picture}: a picture's name ends with .png")
    check_outputs((options.output, options.picture), (*options.volumes, options.ultrasound))
    volumes = [read_volume(path) for path in options.volumes]
    under = read_volume(options.ultrasound) if options.ultrasound else None
    found = oxygen_saturation(volumes, Settings(options.threshold, mu_eff_per_mm=_mu_eff(options, volumes), surface_mm=options.surface_mm))
    check_one_sweep([volumes[0], under] if under else volumes)
    files = list(map(str, write_volume(options.output, found)))
    if options.picture:
        light = {volume.metadata["channel"]: volume for volume in volumes}
        draw_vessels(options.picture, light, f"{options.output.name}: {found.metadata['fluence']}", under, found)
        files.append(str(options.picture))
    percent = found.intensity[found.state > 0]
    answer: dict[str, Any] = {
        "wavelengths_nm": found.metadata["wavelengths_nm"],
        "voxels": len(percent),
        "saturation_percent": dict(zip(("p10", "p50", "p90"), np.percentile(percent, (10, 50, 90)).tolist(), strict=True))
        if len(percent)
        else None,
        "fluence": found.metadata["fluence"],
        "caveat": found.metadata["caveat"],
        "files": files,
    }
    result(answer, as_json=options.json, text=facts(answer))
    return 0 if len(percent) else 1


def _mu_eff(options: argparse.Namespace, volumes: list[Any]) -> dict[float, float] | None:
    if not options.mu_eff_per_mm:
        return None
    if len(options.mu_eff_per_mm) != len(volumes):
        raise BadWavelengths(f"--mu-eff-per-mm has {len(options.mu_eff_per_mm)} values for {len(volumes)} volumes; give one for each")
    told = (float(volume.metadata.get("wavelength_nm", "nan")) for volume in volumes)
    return dict(zip(told, options.mu_eff_per_mm, strict=True))
