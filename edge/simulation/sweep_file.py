"""A simulated sweep as the frames that a front end would send, and as a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edge.files import write_sweep
from edge.messages import Frame
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
            wavelength_nm=WAVELENGTH_NM if frame.modality == "photoacoustic" else 0.0,
            geometry=geometry,
            pose_status="ok",
            image_to_reference=tuple(frame.image_to_reference.matrix.ravel().tolist()),
            pixels=frame.pixels,
        )


def write_simulated_sweep(path: Path, sweep: SimulatedSweep | None = None, *, progress: Progress | None = None) -> int:
    """Compute ``sweep`` (default: the demo's) and write it as `.igs.mha`; answers how many frames.

    ``progress`` (frames, how many) is put between the computing and the writing. ``CannotWrite`` for a convex sweep, whose
    frames are no images before they are scan-converted, and for a name that is not `.mha`.
    """
    sweep = sweep or simulate_sweep()
    frames: Iterable[Frame] = as_frames(sweep)
    return write_sweep(path, progress(frames, len(sweep)) if progress else frames)
