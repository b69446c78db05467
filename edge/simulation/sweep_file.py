"""A simulated sweep as the frames that a front end would send, and as a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edge.files import CannotWrite, write_sweep
from edge.files.recording import write_recording
from edge.messages import Extras, Frame
from edge.simulation.simulate import SimulatedSweep, simulate_sweep

BOOT_ID = 0x51D0_0000  # a simulated probe's boot; the seed is added, so that the same sweep is the same file
WAVELENGTH_NM = 800.0
Progress = Callable[[Iterable[Frame], int], Iterable[Frame]]


def as_frames(sweep: SimulatedSweep) -> Iterator[Frame]:
    """The frames of ``sweep`` with their true poses, as if tracked; computed one by one."""
    geometry = sweep.geometry
    for frame in sweep:
        yield Frame(
            boot_id=BOOT_ID + sweep.settings.seed,
            sweep=1,
            sequence=frame.index,
            timestamp_ns=frame.timestamp_ns,
            last=frame.index == len(sweep) - 1,
            modality=frame.modality,
            wavelength_nm=(frame.wavelength_nm or WAVELENGTH_NM) if frame.modality == "photoacoustic" else 0.0,
            geometry=geometry,
            extras=Extras(laser_energy_mj=frame.laser_energy_mj),
            pose_status="ok",
            image_to_reference=tuple(frame.image_to_reference.matrix.ravel().tolist()),
            pixels=frame.pixels,
        )


def write_simulated_sweep(path: Path, sweep: SimulatedSweep | None = None, *, progress: Progress | None = None) -> int:
    """Compute ``sweep`` (default: the demo's) and write it as `.igs.mha` or `.mcap`; answers how many frames.

    ``progress`` (frames, how many) is put between the computing and the writing. ``CannotWrite`` for another name, and for a
    convex sweep as `.igs.mha`: its frames are no images before they are scan-converted.
    """
    sweep = sweep or simulate_sweep()
    recording = path.name.endswith(".mcap")
    if not recording and sweep.settings.convex:
        raise CannotWrite(f"{path}: images cannot hold a convex probe's beams before they are scan-converted; name the sweep .mcap")
    if not recording and not path.name.endswith(".mha"):
        raise CannotWrite(f"{path}: a simulated sweep is written as .igs.mha or .mcap; choose such a name")
    frames: Iterable[Frame] = as_frames(sweep)
    if progress:
        frames = progress(frames, len(sweep))
    return write_recording(path, frames, {"simulated_seed": str(sweep.settings.seed)}) if recording else write_sweep(path, frames)
