"""TensorRT engines in their cache: the card with everything an engine depends on, and the refusal of one that does not fit.

An engine is ``<key>.plan`` (the raw plan, so that trtexec reads it too) beside ``<key>.json``; the key is made of what it depends
on. A plan is never given to TensorRT before its bytes are known to be those that were proved: a damaged one may end the process.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

import edge.caches as caches
from edge.motion.bundle import Bundle
from edge.motion.source import MotionUnavailable

KEY_LENGTH = 16
OF_THE_GPU = {"gpu", "compute_capability", "sm_count"}  # where one of these differs, the engine is of another machine


class EngineRefused(MotionUnavailable):
    """There is an engine, or there is none, and it cannot be used: the message says why and what makes one that can."""


class EngineMissing(EngineRefused):
    """No engine was ever built for this variant of this bundle here."""


class EngineNotKept(EngineRefused):
    """Another variant was chosen when the engines were built."""


class EngineStale(EngineRefused):
    """The engine was built here for another bundle, TensorRT, CUDA, driver or system than there is now."""


class EngineForeign(EngineRefused):
    """The engine was built for another GPU."""


class EngineTruncated(EngineRefused):
    """The plan is gone or not as long as it was."""


class EngineWrong(EngineRefused):
    """The plan is not the one that was proved."""


class EngineCardCorrupt(EngineRefused):
    """The card of an engine cannot be read, or does not belong to the file that it lies beside."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the engine card."""


class Machine(Entry, frozen=True, kw_only=True):
    """What of the machine an engine depends on. Empty: not to be found out."""

    tensorrt: str  # the module: tensorrt or tensorrt_rtx
    tensorrt_version: str
    cuda_runtime: str
    cuda_driver: int  # the newest CUDA that the driver runs, 12060 for 12.6
    driver: str
    gpu: str
    compute_capability: str
    sm_count: int
    l4t: str


class Dependencies(Entry, frozen=True, kw_only=True):
    """Everything that makes one engine another one."""

    schema: Literal[1] = 1
    bundle: str  # identity
    graph: str  # sha256 of the ONNX file
    variant: str
    machine: Machine
    precision: str  # `strongly typed`, or `weakly typed fp16+int8`
    builder_flags: tuple[str, ...]
    workspace_mib: int
    optimisation_level: int

    @property
    def key(self) -> str:
        """sha256 of the canonical JSON."""
        return hashlib.sha256(json.dumps(msgspec.to_builtins(self), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class LayerReport(Entry, frozen=True, kw_only=True):
    """What the layers of an engine compute in. Work: multiply-adds of the convolutions whose sizes the inspector tells."""

    schema: str  # of the inspector's JSON: 10.x, 11.x, or not readable (then nothing is known)
    layers: int
    convolutions: int
    convolutions_int8: int
    work: int
    work_int8: int
    reformats: int
    kinds: dict[str, int]  # layers by type, as TensorRT calls them


class EngineCard(Entry, frozen=True, kw_only=True):
    """``<key>.json``. ``golden``: largest difference per output; ``control``: how far other images moved the motion."""

    format: Literal[1] = 1
    bundle_name: str
    depends: Dependencies
    plan_sha256: str
    plan_bytes: int
    built: str  # ISO 8601, UTC
    build_seconds: float
    golden: dict[str, float]
    control: float
    step_ms: dict[str, float]  # median of a step, of each variant that was timed in the same run
    passed_over: dict[str, str] = {}  # variants that were tried in the same run and not kept, and why
    layers: LayerReport
    warnings: dict[str, int] = {}  # what TensorRT said while it built, and how often
    power_mode: str = ""  # empty: not to be found out


class Found(NamedTuple):
    """An engine that fits and whose plan is whole."""

    card: EngineCard
    plan: bytes


def own_folder() -> Path | None:
    """Where engines are kept: the services' folder where they have made it and we may write there, else the one in the home directory."""
    return next((folder for folder in caches.cache_folders() if folder != caches.CACHES[0] or os.access(folder, os.W_OK)), None)


def find_engine(bundle: Bundle, variant: str, machine: Machine, folders: Sequence[Path] | None = None) -> Found:
    """The engine of ``variant`` for this machine, its plan checked; of several (built with other options) the newest.

    ``EngineRefused``: its kinds say what is wrong, which dependency changed, and the command that mends it.
    """
    cure = f"run `sonosweep export engine {bundle.path}`"
    places = caches.cache_folders() if folders is None else folders
    if exact := fitting(bundle, variant, machine, places):
        path = max(exact, key=lambda path: exact[path].built)
        return Found(exact[path], read_plan(path, exact[path], cure))
    cards, corrupt = _read_cards(places)
    if corrupt:
        raise EngineCardCorrupt(f"{corrupt[0]}; remove it, and {cure}")
    ours = {path: card for path, card in cards.items() if card.bundle_name == bundle.card.name}
    differing = {path: changes(card, bundle, machine) for path, card in ours.items()}
    for path, card in ours.items():
        if variant in card.passed_over and not differing[path]:
            said = f"the engine was not kept: {card.passed_over[variant]}; to have it all the same, add --variant {variant} and"
            raise EngineNotKept(f"{bundle.card.name} {variant}: {said} {cure}")
    nearest = min((path for path in ours if ours[path].depends.variant == variant), key=lambda path: len(differing[path]), default=None)
    if nearest is None:
        raise EngineMissing(f"{bundle.card.name} {variant}: no engine was built on this machine; {cure}")
    foreign = OF_THE_GPU & differing[nearest].keys()
    kind, what = (EngineForeign, "is of another GPU") if foreign else (EngineStale, "was built for something else")
    told = ", ".join(f"{name.replace('_', ' ')} was {old}, is {new}" for name, (old, new) in differing[nearest].items())
    raise kind(f"{nearest.with_suffix('.plan')}: the engine of {bundle.card.name} {variant} {what}: {told}; {cure}")


def fitting(bundle: Bundle, variant: str, machine: Machine, folders: Sequence[Path]) -> dict[Path, EngineCard]:
    """Cards, by path, of the engines of this variant of this bundle for this machine, with whatever options they were built."""
    cards = _read_cards(folders)[0]
    return {path: card for path, card in cards.items() if card.depends.variant == variant and not changes(card, bundle, machine)}


def changes(card: EngineCard, bundle: Bundle, machine: Machine) -> dict[str, tuple[str, str]]:
    """What the engine depends on and is different now, as (then, now). How it was built is the builder's choice and may differ."""
    then = {"bundle": card.depends.bundle, "graph": card.depends.graph} | msgspec.to_builtins(card.depends.machine)
    graph = bundle.card.graphs.get(card.depends.variant)
    now = {"bundle": bundle.identity, "graph": bundle.card.files[graph.file] if graph else "none"} | msgspec.to_builtins(machine)
    return {name: (_short(then[name]), _short(now[name])) for name in now if then[name] != now[name]}


def read_plan(path: Path, card: EngineCard, cure: str) -> bytes:
    """The plan that the card at ``path`` describes. ``EngineTruncated``, ``EngineWrong``."""
    file = path.with_suffix(".plan")
    try:
        plan = file.read_bytes()
    except OSError as wrong:
        raise EngineTruncated(f"{file}: {wrong.strerror}; {cure}") from wrong
    if len(plan) != card.plan_bytes:
        raise EngineTruncated(f"{file}: is {len(plan)} bytes long and was {card.plan_bytes}; {cure}")
    if hashlib.sha256(plan).hexdigest() != card.plan_sha256:
        raise EngineWrong(f"{file}: is not the engine that was proved here; {cure}")
    return plan


def _read_cards(folders: Sequence[Path]) -> tuple[dict[Path, EngineCard], list[str]]:
    """All cards by path, and what is wrong with those that are none."""
    cards: dict[Path, EngineCard] = {}
    corrupt = []
    for path in (path for folder in folders for path in sorted(folder.glob(f"{'[0-9a-f]' * KEY_LENGTH}.json"))):
        try:
            card = msgspec.json.decode(path.read_bytes(), type=EngineCard)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as wrong:
            corrupt.append(f"{path}: is no engine card: {wrong}")
            continue
        if card.depends.key[:KEY_LENGTH] != path.stem:
            corrupt.append(f"{path}: describes another engine than its name says")
            continue
        cards[path] = card
    return cards, corrupt


def _short(value: object) -> str:
    """Checksums are shown by their beginning."""
    return (str(value)[:12] if len(str(value)) == 64 else str(value)) or "not known"
