"""``sonosweep export firstboot``: builds the configured network's engine at the first boot, or says why there is none to build."""

from __future__ import annotations

import argparse
from functools import partial

import edge.motion.trt as trt
from edge.caches import cache_folders
from edge.commands.options import add_config, read_config
from edge.config import MotionConfig
from edge.console import progress, say
from edge.daemon import notify
from edge.motion.bundle import Bundle, find_bundle, open_bundle
from edge.motion.engine import Machine, fitting
from export.engine.builder import Shown
from export.engine.make import Wishes, cache_folder, make_best, make_engine

SUMMARY = "build the configured network's engine where TensorRT is and none fits yet"
EXAMPLES = """  sonosweep export firstboot                        # as configured in /etc/sonosweep/edge.toml"""
AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything is in the configuration file."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Build, prove and keep; 0 as well where there is nothing to build."""
    motion = read_config(options).motion
    if reason := needless(motion) or trt.missing():
        return _done(f"no engine to build: {reason}")
    bundle, machine = open_bundle(find_bundle(motion.model)), trt.machine()
    variants = [name for name in (trt.VARIANTS if motion.variant == AUTO else (motion.variant,)) if name in bundle.card.graphs]
    if kept := _kept(bundle, variants, machine):
        return _done(f"the engine of {bundle.card.name} {kept} fits: nothing to build")
    notify(f"STATUS=building the engine of {bundle.card.name}")
    wishes = Wishes(cache_folder(), _bar)
    card = make_best(bundle, machine, wishes) if motion.variant == AUTO else make_engine(bundle, motion.variant, machine, wishes)
    return _done(f"the engine of {bundle.card.name} {card.depends.variant} was built in {card.build_seconds} s and proved")


def needless(motion: MotionConfig) -> str:
    """Why the configuration needs no engine; empty where it may."""
    if motion.source != "network":
        return f"motion.source is {motion.source}"
    if motion.backend == "ort":
        return "motion.backend is ort"
    return "" if motion.variant in (AUTO, *trt.VARIANTS) else f"motion.variant {motion.variant} is none of TensorRT's"


def _kept(bundle: Bundle, variants: list[str], machine: Machine) -> str:
    return next((name for name in variants if fitting(bundle, name, machine, cache_folders())), "")


def _done(text: str) -> int:
    say(f"firstboot: {text}")
    notify(f"STATUS={text}")
    return 0


def _bar(variant: str) -> Shown:
    return partial(progress, total=None, label=f"building {variant}", unit="step")
