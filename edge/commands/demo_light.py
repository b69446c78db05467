"""The demo's simulated sweep; and, where it has vessels of known oxygen, what was found of them: volume, picture, measures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edge.commands.accuracy import Truth, even
from edge.commands.options import numbers
from edge.console import progress, rounded, say, table
from edge.errors import SonosweepError
from edge.evaluation.vessels import Poses, compare_vessels, find
from edge.files import open_sweep
from edge.files.volumes import read_volume, write_volume
from edge.light import ULTRASOUND, photoacoustic
from edge.oxygenation import BadWavelengths, Settings, extinctions, oxygen_saturation
from edge.simulation import SCANNER_PERSISTENCE, Freehand, SimulationSettings, VesselPhantom, simulate_sweep, write_simulated_sweep
from edge.simulation.blood import PULSE_ENERGY_MJ
from edge.vessel_picture import draw_vessels

VESSEL_FRAMES, VESSEL_STEP_MM = 281, 0.25  # 70 mm, ultrasound at both ends; light of each of two wavelengths every 1.0 mm
COLUMNS = {
    "dice": "Dice",
    "dice_of_true_poses": "of true poses",
    "centre_line_mm": "centre line mm",
    "placement_mm": "placement mm",
    "saturation_error_points": "saturation off, points",
}


class NotSimulated(SonosweepError):
    """Options of the simulated probe were given for a sweep that is played."""


def add_light(parser: argparse.ArgumentParser) -> None:
    """Options of the simulated photoacoustic probe."""
    parser.add_argument("--photoacoustic", action="store_true", help="let every second simulated frame be photoacoustic")
    parser.add_argument(
        "--wavelengths", type=numbers, default=(), metavar="NM,NM", help="of these in turn, of vessels with known oxygen: 680 to 1000 nm"
    )
    parser.add_argument("--mu-eff-per-mm", type=numbers, default=(), metavar="MU,MU", help="of the simulated tissue at each (or no loss)")
    parser.add_argument("--seed", type=int, default=0, help="another simulated phantom, path and speckle (%(default)s)")
    parser.add_argument(
        "--pulse-energy-mj",
        type=float,
        default=None,
        metavar="MJ",
        help="scale photoacoustic samples to this pulse energy (0: off; default: the simulated laser's, with --wavelengths)",
    )


def light_settings(options: argparse.Namespace) -> SimulationSettings | None:
    """What to simulate; None where a recorded sweep is played. Raises NotSimulated, BadWavelengths."""
    if options.sweep:
        if options.photoacoustic or options.wavelengths or options.mu_eff_per_mm:
            raise NotSimulated(f"{options.sweep} has the light that it has; leave out --photoacoustic, --wavelengths and --mu-eff-per-mm")
        return None
    common = {"photoacoustic": options.photoacoustic, "persistence": SCANNER_PERSISTENCE, "seed": options.seed}
    if not options.wavelengths:
        return SimulationSettings(**common)
    if len(options.wavelengths) > 1:
        extinctions(options.wavelengths)  # what cannot be unmixed is refused before the work
    return SimulationSettings(
        **common,
        frames=VESSEL_FRAMES,
        hand=Freehand(step_mm=VESSEL_STEP_MM),
        wavelengths_nm=options.wavelengths,
        mu_eff_per_mm=options.mu_eff_per_mm,
    )


def simulated(out: Path, settings: SimulationSettings) -> Path:
    """The sweep, written to ``out``."""
    path = out / "simulated.igs.mha"
    say("simulating a sweep ...")
    sweep = simulate_sweep(settings)
    write_simulated_sweep(path, sweep, progress=lambda frames, total: progress(frames, total=total, label="simulating"))
    return path


def pulse_energy_mj(options: argparse.Namespace) -> float:
    """As asked for; else the simulated laser's where light is measured, and off where it is only shown."""
    if options.pulse_energy_mj is not None:
        return float(options.pulse_energy_mj)
    return PULSE_ENERGY_MJ if options.wavelengths and not options.sweep else 0.0


def vessels(
    settings: SimulationSettings | None, sweep: Path, truth: Truth, placed: Poses, answer: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """``vessels``: rows of measures; ``files`` with the saturation and the picture. Nothing where the sweep has no known vessels.

    ``placed``: the poses of the live reconstruction; beside them stand the true ones and a constant motion.
    """
    if settings is None or not settings.wavelengths_nm:
        return {}
    simulation = simulate_sweep(settings)
    phantom = simulation.phantom
    assert isinstance(phantom, VesselPhantom)
    files = [*answer["files"], *_saturation(answer["files"], phantom, options.out, answer["motion"])]
    say("measuring the vessels ...")
    frames = list(open_sweep(sweep).frames())
    true = find(frames, truth.poses, phantom, options.spacing_mm)
    live = {n: pose for n, pose in placed.items() if n in truth.poses}
    steady = even(truth.timestamps_ns, simulation.geometry, options.speed_mm_s if answer["direction"] == "+" else -options.speed_mm_s)
    estimates = {}
    if options.motion != "recorded":
        estimates[answer["motion"]] = find(frames, live, phantom, options.spacing_mm)
        estimates[f"constant {options.speed_mm_s:g} mm/s"] = find(frames, steady, phantom, options.spacing_mm)
    width, height = simulation.converted_size
    corners = np.array([(x, y, 0.0) for x in (0, width - 1) for y in (0, height - 1)])
    return {"vessels": compare_vessels(true, estimates, phantom, corners), "phantom": phantom.truth(), "files": files}


def _saturation(files: list[str], phantom: VesselPhantom, out: Path, motion: str) -> list[str]:
    """From the volumes of the live reconstruction: a volume of the saturation and the picture of the vessels."""
    paths = [Path(name) for name in files if name.endswith(".nrrd") and not name.endswith("-state.nrrd")]
    volumes = {volume.metadata["channel"]: volume for volume in map(read_volume, paths)}
    light = [volumes[name] for name in photoacoustic(volumes)]
    if not light:
        return []
    written: list[str] = []
    found = None
    try:
        found = oxygen_saturation(light, Settings(mu_eff_per_mm=phantom.mu_eff_per_mm))
    except BadWavelengths as wrong:
        say(f"no oxygen saturation: {wrong}")
    if found:
        written += map(str, write_volume(out / "simulated-oxygen-saturation.nrrd", found))
    picture = out / "simulated-vessels.png"
    title = f"vessels by light   motion: {motion}, fluence: {found.metadata['fluence'].partition(' by')[0] if found else 'not known'}"
    draw_vessels(picture, volumes, title, volumes.get(ULTRASOUND), found)
    return [*written, str(picture)]


def vessels_told(rows: list[dict[str, Any]]) -> list[str]:
    """The measures as text; nothing where there are none."""
    if not rows:
        return []
    shown = [{"motion": row["motion"]} | {title: rounded(row[key], 2) for key, title in COLUMNS.items()} for row in rows]
    head = "vessels against the phantom (Dice per 20 mm after rigid alignment; centre line and placement absolute):"
    return ["", head, table(shown, ["motion", *COLUMNS.values()])]
