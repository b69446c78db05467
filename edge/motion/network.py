"""Motion from the images alone: a network's step graph, proved on its golden sequence before the first frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

import edge.motion.ort as ort
import edge.motion.trt as trt
from edge.compounding.image import Image
from edge.console import say
from edge.messages import Frame
from edge.motion.bundle import Bundle, open_bundle
from edge.motion.card import BundleCorrupt, Card, is_name
from edge.motion.golden import Golden, prove, read_golden, run_golden
from edge.motion.intervals import Intervals
from edge.motion.resample import Resampler
from edge.motion.source import MotionFailed, MotionUnavailable, Step
from edge.motion.stepper import BundleMismatch, Factory, Stepper, Steps
from edge.transform import Transform, first_image_to_reference, motion


class Backend(NamedTuple):
    """A way to run step graphs: what it lacks here (empty: nothing), how it loads one (bundle, variant, threads), its variants."""

    missing: Callable[[], str]
    load: Callable[[Bundle, str, int], Factory]
    variants: tuple[str, ...]  # best first


def _load_ort(bundle: Bundle, variant: str, threads: int) -> Factory:
    runner = ort.Runner(bundle.graph(variant), threads)

    def stepper(normalisation: Mapping[str, tuple[float, ...]], whole: bool) -> Steps:
        return Stepper(bundle.card, runner, normalisation)  # always whole: the state is here anyway

    return stepper


MOTION_BACKENDS = {  # best first
    "trt": Backend(trt.missing, trt.load, trt.VARIANTS),
    "ort": Backend(ort.missing, _load_ort, ("fp32", "int8")),
}
LAST = "ort"  # behind it stands nothing


class ProbeNormalisation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``BUNDLE.probe.json`` beside a bundle: normalisation values of the probe at hand, estimated on its own images.

    ``golden_motion`` [n - 1][6]: what the reference graph said to the golden images with these values (scaled outputs), for every
    other graph and backend to be proved with them; empty where it was not kept.
    """

    kind: Literal["probe-normalisation"] = "probe-normalisation"
    format: Literal[1] = 1
    bundle: str  # identity of the bundle that it belongs to
    probe: str
    values: dict[str, tuple[float, ...]]  # by graph input, in C order; inputs left out keep the card's
    golden_motion: tuple[tuple[float, ...], ...] = ()


class NetworkMotion:
    """Relative motions in canonical direction, with their standard deviations where the network gives them."""

    relative = True

    def __init__(self, name: str, backend: str, card: Card, stepper: Steps) -> None:
        self.name, self.backend = f"network: {name}", f"{backend} ({stepper.note})" if stepper.note else backend
        self.error_memory = card.motion.error_memory
        self._meaning, self._stepper = card.motion, stepper
        self._resample = Resampler(card.image.width, card.image.height, card.image.spacing_mm)
        self._intervals = Intervals()
        self._scale = np.array(card.motion.scale)

    def start(self, frame: Frame, image: Image) -> Step:
        """The first image lies in the plane z = 0 of Reference, and primes the network's state."""
        self._stepper.start(self._resample(image, frame.geometry.spacing_mm))
        self._intervals = Intervals(frame.timestamp_ns)
        return Step(image_to_reference=first_image_to_reference(frame.geometry.spacing_mm))

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """The motion since the image given before, however many frames were lost in between."""
        interval = self._intervals.next(frame.timestamp_ns, elapsed_frames)
        outputs = self._stepper.step(self._resample(image, frame.geometry.spacing_mm), interval)
        values = outputs[self._meaning.output].reshape(6) * self._scale
        if not np.isfinite(values).all():
            raise MotionFailed(f"{self.name} gave no finite motion for frame {frame.sequence}: {values.tolist()}")
        below_mm = 0.0
        if self._meaning.about == "window-centre":
            below_mm = self._resample.below_centre_mm(image.shape[0], frame.geometry.spacing_mm[1])
        step = moved(motion(values[:3], values[3:]), below_mm)
        return Step(center_to_previous=step, uncertainty=self._uncertainty(outputs, below_mm))

    def _uncertainty(self, outputs: dict[str, np.ndarray], below_mm: float) -> tuple[float, ...]:
        if not self._meaning.uncertainty:
            return ()
        said = outputs[self._meaning.uncertainty].reshape(6).astype(np.float64)
        deviation = np.exp(said / 2) if self._meaning.uncertainty_is == "log variance" else said
        x, y, z, *angles = (deviation * np.abs(self._scale)).tolist()
        return (float(np.hypot(x, below_mm * angles[2])), y, float(np.hypot(z, below_mm * angles[0])), *angles)


def moved(step: Transform, below_mm: float) -> Transform:
    """A motion about a point ``below_mm`` axially beyond the image's centre as CenterToPreviousCenter of the image itself."""
    there = np.eye(4)
    there[1, 3] = below_mm
    return Transform(step.source, step.target, there @ step.matrix @ np.linalg.inv(there)) if below_mm else step


def runnable(card: Card, backend: str = "auto", variant: str = "auto") -> list[tuple[str, str]]:
    """Every (backend, variant) of the bundle that runs on this machine and is asked for, best first."""
    here = {name: one for name, one in MOTION_BACKENDS.items() if backend in ("auto", name) and not one.missing()}
    return [(name, v) for name, one in here.items() for v in one.variants if v in card.graphs and variant in ("auto", v)]


def candidates(card: Card, backend: str = "auto", variant: str = "auto") -> list[tuple[str, str]]:
    """What can run the bundle here, as (backend, variant), best first; ``MotionUnavailable`` says what is lacking.

    Of the last backend only its best: if that one fails, something is wrong, and no other variant may hide it.
    """
    found = runnable(card, backend, variant)
    if not found:
        asked = {name: one for name, one in MOTION_BACKENDS.items() if backend in ("auto", name)}
        has = f"the bundle has {tuple(card.graphs)}, asked for is {variant}"
        lacks = [f"{name}: {one.missing() or f'runs {one.variants}; {has}'}" for name, one in asked.items()]
        raise MotionUnavailable(f"no network can run here: {'; '.join(lacks)}")
    others = [pair for pair in found if pair[0] == LAST][1:]
    return [pair for pair in found if pair not in others]


def open_network(
    path: Path, backend: str = "auto", threads: int = 0, probe_file: Path | None = None, variant: str = "auto"
) -> NetworkMotion:
    """The bundle at ``path``, loaded and proved, with the probe's own normalisation: ``probe_file``, else the one beside the bundle.

    ``BundleCorrupt``, ``BundleMismatch``, ``MotionUnavailable``, ``ort.GraphRefused``: each says what to do. Where ``auto`` leaves
    a choice, what cannot be used is said on the console, and the next is tried.
    """
    bundle = open_bundle(path)
    golden, probe = read_golden(bundle.files[bundle.card.golden], bundle.card), read_probe(bundle, probe_file)
    *better, last = candidates(bundle.card, backend, variant)
    for candidate in better:
        try:
            return _opened(bundle, *candidate, threads, golden, probe)
        except (MotionUnavailable, MotionFailed, BundleMismatch) as wrong:
            say(f"{' '.join(candidate)} is not used: {wrong}")
    return _opened(bundle, *last, threads, golden, probe)


def _opened(bundle: Bundle, backend: str, variant: str, threads: int, golden: Golden, probe: ProbeNormalisation | None) -> NetworkMotion:
    card, factory = bundle.card, MOTION_BACKENDS[backend].load(bundle, variant, threads)
    prove(card, variant, factory({}, True), golden)
    if probe is None:
        return NetworkMotion(card.name, f"{backend} {variant}", card, factory({}, False))
    _prove_probe(card, variant, factory(probe.values, True), golden, probe)
    return NetworkMotion(f"{card.name} for {probe.probe}", f"{backend} {variant}", card, factory(probe.values, False))


def _prove_probe(card: Card, variant: str, stepper: Steps, golden: Golden, probe: ProbeNormalisation) -> None:
    """The golden images once more with the probe's own values."""
    if not probe.golden_motion:
        return
    found = run_golden(card, stepper, golden.frames).outputs[card.motion.output].reshape(-1, 6)
    expected = np.array(probe.golden_motion)
    allowed = card.graphs[variant].tolerance.get(card.motion.output, 0.0)
    if expected.shape != found.shape or not np.abs(found - expected).max() <= allowed:
        raise BundleMismatch(
            f"{card.name} {card.version} ({variant}) with the values of {probe.probe}: the golden motion is not the one of its fit, within "
            f"{allowed:.3g}; fit it again with `sonosweep calibrate domain`"
        )


def probe_path(bundle: Path) -> Path:
    """Where the probe's normalisation lies: beside ``small.zip`` or ``small/`` as ``small.probe.json``."""
    return bundle.with_name(f"{bundle.name.removesuffix('.zip')}.probe.json")


def read_probe(bundle: Bundle, given: Path | None = None) -> ProbeNormalisation | None:
    """The file ``given``, else the one beside the bundle, None where there is none; refused by name where it does not fit the bundle."""
    path = given or probe_path(bundle.path)
    cure = "remove it to use the bundle's own values, or estimate it again for this bundle"
    try:
        probe = msgspec.json.decode(path.read_bytes(), type=ProbeNormalisation)
    except FileNotFoundError as wrong:
        if given is None:
            return None
        raise BundleCorrupt(f"{path}: there is no such file; make it with `sonosweep calibrate domain`") from wrong
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise BundleCorrupt(f"{path}: is no normalisation of a probe: {wrong}; {cure}") from wrong
    if not is_name(probe.probe):
        raise BundleCorrupt(f"{path}: probe {probe.probe!r:.60} is not one line of text without blanks at its ends; mend it or {cure}")
    if probe.bundle != bundle.identity:
        raise BundleMismatch(f"{path}: was made for another bundle than {bundle.path}; {cure}")
    expected = {n.input: len(n.values) for n in bundle.card.normalisation}
    for name, values in probe.values.items():
        if len(values) != expected.get(name) or not np.isfinite(values).all():
            raise BundleMismatch(f"{path}: {name} does not fit the bundle's {expected}; {cure}")
    return probe
