"""A training run with its files: the checkpoint that survives a kill, the loss curves, and a line a minute for whoever waits."""

from __future__ import annotations

import time
from pathlib import Path

from edge.console import say
from export.training.checkpoint import CheckpointUnfit, checkpoint_path, load_checkpoint, save_checkpoint
from export.training.curves import draw_curves
from export.training.losses import Losses
from export.training.trainer import Trainer

EVERY_S = 60.0
RECENT = 200  # steps in the mean that is told


def curves_path(bundle: Path) -> Path:
    """Beside ``small.zip``: ``small.losses.png``."""
    return bundle.with_name(f"{bundle.name.removesuffix('.zip')}.losses.png")


def train(trainer: Trainer, bundle: Path, *, resume: bool, every_s: float = EVERY_S) -> None:
    """Train to the end of the budget, with the checkpoint and the curves beside ``bundle``.

    ``CheckpointUnfit``: there is nothing to resume, or something that a fresh run would overwrite.
    """
    kept, first = checkpoint_path(bundle), trainer.workers.rank == 0
    if resume:
        trainer.restore(load_checkpoint(kept))
        if first:
            say(f"resumed at step {trainer.step}, {trainer.fraction:.1%} of the budget")
    elif kept.exists() and not load_checkpoint(kept)["finished"]:
        raise CheckpointUnfit(f"{kept} holds a run that was not finished; --resume goes on with it, or remove it to begin anew")
    last = time.monotonic()

    def tell(trainer: Trainer) -> None:
        nonlocal last
        if first and time.monotonic() - last >= every_s:
            keep(trainer, bundle, finished=False)
            say(_line(trainer))
            last = time.monotonic()

    trainer.run(tell)
    if first:
        keep(trainer, bundle, finished=True)
        say(_line(trainer))


def keep(trainer: Trainer, bundle: Path, *, finished: bool) -> None:
    """Write the checkpoint and the curves."""
    save_checkpoint(checkpoint_path(bundle), trainer.state() | {"finished": finished})
    names = Losses._fields
    curves = {name: [(row[1], row[2 + i]) for row in trainer.history] for i, name in enumerate(names) if name != "likelihood"}
    draw_curves(curves_path(bundle), curves, f"{bundle.name}: loss, step {trainer.step}")


def _line(trainer: Trainer) -> str:
    recent = trainer.history[-RECENT:]
    means = [sum(row[2 + i] for row in recent) / len(recent) for i in range(len(Losses._fields))] if recent else []
    told = ", ".join(f"{name} {value:.4f}" for name, value in zip(Losses._fields, means, strict=True)) if recent else "nothing yet"
    return f"{trainer.fraction:6.1%}  step {trainer.step}  {trainer.seconds / 60:.1f} min  {told}"
