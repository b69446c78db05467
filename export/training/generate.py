"""Writing a folder of simulated sweeps with several processes; what is there already is kept, so that it can be continued."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch

from edge.errors import SonosweepError
from edge.processes import die_with_parent
from export.training.held_out import write_held_out_sweep
from export.training.source import SWEEPS_PER_BANK, draw_bank, draw_sweep
from export.training.sweeps import HELD_OUT_SEED, save_training_sweep


class SeedKept(SonosweepError):
    """A training sweep was asked for with a seed that is kept for the sweeps that networks are judged by."""


def generate(n_sweeps: int, frames: int, seed: int, out_folder: Path, *, processes: int = 2, device: str = "cpu") -> Iterator[Path]:
    """Write ``n_sweeps`` sweeps of ``frames`` windows into ``out_folder``; yields their files as they come.

    The same seed gives the same sweeps, whatever ``processes`` is. Consume the iterator: nothing happens before.
    ``SeedKept`` for seeds of the held-out sweeps.
    """
    if not 0 <= seed < HELD_OUT_SEED:
        raise SeedKept(f"seed {seed}: seeds from 0 to {HELD_OUT_SEED - 1} are for training; the others belong to the held-out sweeps")
    folder = Path(out_folder)
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [range(first, min(first + SWEEPS_PER_BANK, n_sweeps)) for first in range(0, n_sweeps, SWEEPS_PER_BANK)]
    if processes < 2:
        for chunk in chunks:
            yield from _write(chunk, frames, seed, folder, device)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin) as pool:
        for done in as_completed([pool.submit(_write, chunk, frames, seed, folder, device) for chunk in chunks]):
            yield from done.result()


def generate_held_out(n_sweeps: int, out_folder: Path) -> Iterator[Path]:
    """Write the first ``n_sweeps`` held-out sweeps as `.igs.mha` with poses; those that are there already are kept."""
    for index in range(n_sweeps):
        there = sorted(Path(out_folder).glob(f"held_out_{index:02d}_*.igs.mha"))
        yield there[0] if there else write_held_out_sweep(Path(out_folder), index)


def sweep_path(folder: Path, seed: int, index: int) -> Path:
    """Where sweep ``index`` of a seed is written."""
    return folder / f"sim_{seed}_{index:05d}.npz"


def _begin() -> None:
    """A worker: one thread, and no work for a parent that is gone."""
    die_with_parent()
    torch.set_num_threads(1)


def _write(indices: range, frames: int, seed: int, folder: Path, device: str) -> list[Path]:
    """One bank's sweeps; those that are there already are not drawn again."""
    paths = [sweep_path(folder, seed, index) for index in indices]
    missing = [(index, path) for index, path in zip(indices, paths, strict=True) if not path.exists()]
    if missing:
        bank = draw_bank((seed, indices.start // SWEEPS_PER_BANK), device=device)
        for index, path in missing:
            save_training_sweep(path, draw_sweep(frames, (seed, index), bank))
    return paths
