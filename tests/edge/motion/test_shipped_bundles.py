"""The bundles that come with the package: found by name from anywhere, whole, small enough, and what nobody ships is refused."""

from __future__ import annotations

import numpy as np
import pytest

import edge.motion.ort as ort
from edge.config import MotionConfig
from edge.motion import MotionUnavailable, open_motion
from edge.motion.bundle import UnknownBundle, find_bundle, open_bundle, shipped_bundles
from edge.motion.golden import read_golden
from edge.motion.stepper import Stepper

SMALL_MB = 12


def test_the_default_network_comes_with_the_package():
    source = open_motion(MotionConfig())
    assert (source.name, source.relative) == ("network: small", True)
    assert open_motion(MotionConfig(source="recorded")).name == "recorded"


@pytest.mark.parametrize("name", shipped_bundles())
def test_every_shipped_bundle_is_found_by_its_name_and_is_what_its_card_says(name):
    assert open_bundle(find_bundle(name)).path == shipped_bundles()[name]


def test_the_default_bundle_stays_small():
    assert find_bundle("small").stat().st_size <= SMALL_MB * 10**6


@pytest.mark.parametrize("name", ["small", "small-leg"])
def test_what_the_network_keeps_of_a_scanner_differs_between_scanners(name):
    """A layer that died in training gives zeros to all, and nothing else in the figures says so."""
    card = open_bundle(find_bundle(name)).card
    runner = ort.Runner(open_bundle(find_bundle(name)).graph("fp32"), 1)
    random = np.random.default_rng(0)
    frames = [random.normal(size=(card.image.height, card.image.width)) for _ in range(12)]
    kept = []
    for memory in (0.0, 0.7):  # a scanner that shows each image, and one that averages over some three
        stepper, shown = Stepper(card, runner), frames[0]
        for number, frame in enumerate(frames):
            shown = memory * shown + (1 - memory) * frame
            image = np.clip(110 + 30 * shown / shown.std(), 0, 255).astype(np.float32)
            stepper.step(image) if number else stepper.start(image)
        kept.append(stepper.state["scanner"][0])
    apart = np.abs(kept[0] - kept[1])
    assert np.isfinite(kept).all() and (apart > 0.02).mean() > 0.5, "most of what is kept tells them apart"


@pytest.mark.parametrize("name", ["small", "small-leg"])
def test_a_mirrored_sweep_moves_as_in_the_mirror(name):
    bundle = open_bundle(find_bundle(name))
    frames = read_golden(bundle.files[bundle.card.golden], bundle.card).frames.astype(np.float32)
    runner = ort.Runner(bundle.graph("fp32"), 1)
    said = []
    for sweep in (frames, frames[..., ::-1]):
        stepper = Stepper(bundle.card, runner)
        stepper.start(sweep[0])
        said.append(np.concatenate([stepper.step(np.ascontiguousarray(image))["motion"] for image in sweep[1:]]))
    assert np.abs(said[0]).max() > 0.1
    assert np.abs(said[1] - said[0] * [-1, 1, 1, 1, -1, -1]).max() < 1e-4


def test_a_shipped_name_means_the_shipped_bundle_whatever_lies_here(tmp_path, monkeypatch):
    (tmp_path / "small").mkdir()
    (tmp_path / "mine.zip").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert find_bundle("small") == shipped_bundles()["small"]
    assert find_bundle("./small").resolve() == tmp_path / "small"
    assert find_bundle("mine.zip").resolve() == tmp_path / "mine.zip"


@pytest.mark.parametrize("name", ["smal", "", "nowhere/small.zip", "../bundles/small"])
def test_a_name_that_is_no_bundle_is_refused_with_those_that_are(name):
    with pytest.raises(UnknownBundle, match=rf"{name!r} is neither a file nor .* one of .*\bsmall\b"):
        find_bundle(name)
    assert issubclass(UnknownBundle, MotionUnavailable)
