"""The configured network's engine, built and proved at the first boot; whoever waits is told how far that is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from edge.caches import BUILDING, cache_folders
from edge.config import Config, MotionConfig
from edge.console import progress
from edge.daemon import notify
from edge.motion.bundle import Bundle, find_bundle, open_bundle
from edge.motion.engine import Machine, fitting
from edge.motion.trt import VARIANTS, machine, missing
from export.engine.builder import Shown
from export.engine.make import Wishes, cache_folder, make_best, make_engine

AUTO = "auto"
TELL_EVERY_S = 1.0


def first_engine(config: Config) -> str:
    """Build, prove and keep it where none fits; answers what was done."""
    motion = config.motion
    if reason := needless(motion) or missing():
        return f"no engine to build: {reason}"
    bundle, here = open_bundle(find_bundle(motion.model)), machine()
    variants = [name for name in (VARIANTS if motion.variant == AUTO else (motion.variant,)) if name in bundle.card.graphs]
    if kept := _kept(bundle, variants, here):
        return f"the engine of {bundle.card.name} {kept} fits: nothing to build"
    _give_way()
    telling = Telling(Path(config.run_dir) / BUILDING, bundle.card.name)
    wishes = Wishes(cache_folder(), telling.shown)
    try:
        card = make_best(bundle, here, wishes) if motion.variant == AUTO else make_engine(bundle, motion.variant, here, wishes)
    finally:
        telling.path.unlink(missing_ok=True)
    return f"the engine of {bundle.card.name} {card.depends.variant} was built in {card.build_seconds} s and proved"


def needless(motion: MotionConfig) -> str:
    """Why the configuration needs no engine; empty where it may."""
    if motion.source != "network":
        return f"motion.source is {motion.source}"
    if motion.backend == "ort":
        return "motion.backend is ort"
    return "" if motion.variant in (AUTO, *VARIANTS) else f"motion.variant {motion.variant} is none of TensorRT's"


def _give_way() -> None:
    """A build takes the processor time that the services leave; to look whether one is needed does not: the reconstructor waits for it."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _kept(bundle: Bundle, variants: list[str], here: Machine) -> str:
    return next((name for name in variants if fitting(bundle, name, here, cache_folders())), "")


class Telling:
    """Says how far a build is: to systemd, and in a file that the tablet page shows."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self._name, self._told = path, name, 0.0
        self._tell("")

    def shown(self, variant: str) -> Shown:
        """Stands between the builder's lines and us; each is a step."""

        def steps(lines: Iterable[str]) -> Iterator[str]:
            for step, line in enumerate(progress(lines, total=None, label=f"building {variant}", unit="step"), 1):
                if time.monotonic() - self._told > TELL_EVERY_S:
                    self._tell(f" {variant}, step {step}")
                yield line

        return steps

    def _tell(self, how_far: str) -> None:
        self._told = time.monotonic()
        notify(f"STATUS=building the engine of {self._name}{how_far}")
        with suppress(OSError):  # on a desk no service may have made the folder
            self.path.write_text(f"{self._name}{how_far}\n")
