"""From a bundle to an engine in the cache: built apart, proved from the bytes that were written, and only then named."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from edge.atomic import make_folder, replacing
from edge.console import say
from edge.errors import SonosweepError
from edge.motion.bundle import Bundle
from edge.motion.engine import KEY_LENGTH, Dependencies, EngineCard, Machine, fitting, own_folder, read_plan
from edge.motion.trt import VARIANTS
from export.engine.build import FULL_TENSORRT, Built, EngineNotBuilt, Request, precision
from export.engine.builder import Shown, build_apart
from export.engine.prove import Proof, prove_engine

OPTIMISATION_LEVEL = 3  # TensorRT's own; higher ones search longer


class CacheUnwritable(SonosweepError):
    """There is no folder in which an engine can be kept."""


@dataclass(frozen=True)
class Wishes:
    """How engines are to be built, and where they go. ``bar`` makes what shows the progress of a variant."""

    cache: Path
    bar: Callable[[str], Shown]
    weakly_typed: bool = False
    workspace_mib: int = 512


@dataclass(frozen=True)
class Proved:
    """An engine without a name."""

    depends: Dependencies
    plan: bytes
    built: Built
    proof: Proof


def cache_folder(given: Path | None = None) -> Path:
    """``given``, else the one in which engines are looked for; made where it is not there. ``CacheUnwritable``."""
    folder = given or own_folder()
    if folder is None:
        raise CacheUnwritable("there is neither a home directory nor a writable /var/cache/sonosweep; name a folder with --cache")
    try:
        make_folder(folder)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as wrong:
        raise CacheUnwritable(f"{folder}: {wrong.strerror}; make it writable, or name another folder with --cache") from wrong
    return folder


def make_engine(bundle: Bundle, variant: str, machine: Machine, wishes: Wishes) -> EngineCard:
    """Build, prove and keep the engine of one variant. ``EngineNotBuilt``: nothing was kept."""
    made = _proved(bundle, variant, machine, wishes)
    return _keep(bundle, made, wishes.cache, {variant: made.proof.step_ms}, {})


def make_best(bundle: Bundle, machine: Machine, wishes: Wishes) -> EngineCard:
    """Try INT8 and FP16 and keep the faster; what is passed over, and why, is said and written into the card."""
    proved: dict[str, Proved] = {}
    passed_over: dict[str, str] = {}
    for variant in (variant for variant in VARIANTS if variant in bundle.card.graphs):
        try:
            proved[variant] = _proved(bundle, variant, machine, wishes)
        except EngineNotBuilt as wrong:
            passed_over[variant] = str(wrong)
            say(f"{variant} is passed over: {wrong}")
    if not proved:
        told = "; ".join(passed_over.values()) or f"it has the variants {tuple(bundle.card.graphs)}; TensorRT runs {VARIANTS}"
        raise EngineNotBuilt(f"{bundle.path}: no engine can be had of this bundle here: {told}")
    step_ms = {variant: made.proof.step_ms for variant, made in proved.items()}
    best = min(step_ms, key=lambda variant: step_ms[variant])  # INT8 where they are alike
    for variant in step_ms.keys() - {best}:
        passed_over[variant] = f"a step takes {step_ms[variant]:.3g} ms, and {step_ms[best]:.3g} ms with {best}"
        say(f"{variant} is passed over: {passed_over[variant]}")
    card = _keep(bundle, proved[best], wishes.cache, step_ms, passed_over)
    for variant in passed_over:  # else one from an earlier day would still be taken first
        for old in fitting(bundle, variant, machine, [wishes.cache]):
            say(f"{old.with_suffix('.plan')} is removed: an engine of {variant} from before")
            for file in (old, old.with_suffix(".plan")):
                file.unlink(missing_ok=True)
    return card


def check(bundle: Bundle, variant: str, wishes: Wishes) -> Built:
    """Parse and build, and keep nothing: needs no GPU. ``EngineNotBuilt``."""
    return build_apart(_request(bundle, variant, wishes), wishes.bar(variant))


def _proved(bundle: Bundle, variant: str, machine: Machine, wishes: Wishes) -> Proved:
    depends = _depends(bundle, variant, machine, wishes)
    with tempfile.TemporaryDirectory(dir=wishes.cache, prefix=".engine.") as folder:
        file = Path(folder, "plan")
        request = _request(bundle, variant, wishes, plan=str(file), timing_cache=_timing_cache(wishes.cache, machine))
        built = build_apart(request, wishes.bar(variant))
        plan = file.read_bytes()
    return Proved(depends, plan, built, prove_engine(bundle, variant, plan))


def _depends(bundle: Bundle, variant: str, machine: Machine, wishes: Wishes) -> Dependencies:
    words, flags = precision(variant, wishes.weakly_typed)
    return Dependencies(
        bundle=bundle.identity,
        graph=bundle.card.files[bundle.card.graphs[variant].file],
        variant=variant,
        machine=machine,
        precision=words,
        builder_flags=flags,
        workspace_mib=wishes.workspace_mib,
        optimisation_level=OPTIMISATION_LEVEL,
    )


def _request(bundle: Bundle, variant: str, wishes: Wishes, plan: str = "", timing_cache: str = "") -> Request:
    return Request(
        bundle=str(bundle.path.absolute()),
        variant=variant,
        weakly_typed=wishes.weakly_typed,
        workspace_mib=wishes.workspace_mib,
        optimisation_level=OPTIMISATION_LEVEL,
        plan=plan,
        timing_cache=timing_cache,
    )


def _timing_cache(folder: Path, machine: Machine) -> str:
    """One file per TensorRT and GPU; none for TensorRT-RTX, which keeps no timings."""
    if machine.tensorrt != FULL_TENSORRT:
        return ""
    return str(folder / f"timing-{machine.tensorrt_version}-{re.sub('[^A-Za-z0-9]+', '-', machine.gpu)}.cache")


def _keep(bundle: Bundle, made: Proved, cache: Path, step_ms: dict[str, float], passed_over: dict[str, str]) -> EngineCard:
    """Plan first, then its card: a plan without a card is none."""
    card = EngineCard(
        bundle_name=bundle.card.name,
        depends=made.depends,
        plan_sha256=hashlib.sha256(made.plan).hexdigest(),
        plan_bytes=len(made.plan),
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=round(made.built.seconds, 2),
        golden=made.proof.golden,
        control=made.proof.control,
        step_ms=step_ms,
        passed_over=passed_over,
        layers=made.proof.layers,
        warnings=made.built.warnings,
        power_mode=_power_mode(),
    )
    path = _path(cache, made.depends)
    contents = {".plan": made.plan, ".json": msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"}
    for suffix, content in contents.items():
        with replacing(path.with_suffix(suffix)) as out:
            out.write(content)
    read_plan(path, card, "the disk gave back other bytes than were written: look after the disk")
    return card


def _path(cache: Path, depends: Dependencies) -> Path:
    return cache / f"{depends.key[:KEY_LENGTH]}.json"


def _power_mode() -> str:
    """A Jetson's, as ``25W``: clocks decide which tactics win. Empty where it cannot be read."""
    command = shutil.which("nvpmodel")
    if command is None:
        return ""
    said = subprocess.run([command, "-q"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"NV Power Mode:\s*(\S+)", said)
    return found[1] if found else ""
