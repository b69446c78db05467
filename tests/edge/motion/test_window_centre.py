"""A network's motion is about the centre of its window; what leaves NetworkMotion is about the frame's."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from edge.messages import Frame, Geometry
from edge.motion.card import BundleCorrupt, Card, Ports, parse_card
from edge.motion.network import NetworkMotion, moved
from edge.motion.resample import Resampler
from edge.motion.stepper import Stepper
from edge.transform import image_to_center, motion, motion_parameters

WINDOW, SPACING = (48, 40), (0.5, 0.4)  # height and width; lateral and axial mm
TURN = np.array([0.0, 0, 0, 0, 0, 0.1])


def card(about: str = "window-centre", **changes: Any) -> Card:
    fields: dict[str, Any] = {
        "kind": "motion",
        "name": "fixed",
        "version": "1",
        "summary": "always the same motion",
        "graphs": {"fp32": {"file": "step.onnx"}},
        "image": {"input": "frame", "width": WINDOW[1], "height": WINDOW[0], "spacing_mm": SPACING},
        "motion": {"output": "motion", "about": about, "uncertainty": "deviation", "uncertainty_is": "standard deviation"},
        "trained_on": "nothing",
        "licence": "Apache-2.0",
        **changes,
    }
    return parse_card(msgspec.json.encode(fields), "card.json")


class Always:
    """A step graph that says one motion."""

    def __init__(self, values: np.ndarray) -> None:
        self.inputs: Ports = {"frame": ((1, 1, *WINDOW), "float32")}
        self.outputs: Ports = {"motion": ((1, 6), "float32"), "deviation": ((1, 6), "float32")}
        self.said = {"motion": values[None].astype(np.float32), "deviation": np.full((1, 6), 0.01, np.float32)}

    def infer(self, inputs: Any) -> Any:
        return dict(self.said)


def stepped(values: np.ndarray, height: int, about: str = "window-centre") -> Any:
    pixels = np.zeros((height, 60), np.uint8)
    frame = Frame(
        boot_id=1,
        sweep=0,
        sequence=0,
        timestamp_ns=0,
        geometry=Geometry(width=60, height=height, spacing_mm=(0.3, 0.2)),
        pixels=pixels,
    )
    source = NetworkMotion("fixed", "test", card(about), Stepper(card(about), Always(values)))
    source.start(frame, pixels)
    return source.step(frame, pixels, 1)


def test_a_turn_about_the_windows_centre_moves_the_centre_of_a_higher_frame_sideways():
    """Window 19.2 mm high, frame 40 mm: its centre lies 10.4 mm below the window's, and swings by 10.4 sin 0.1."""
    found = motion_parameters(stepped(TURN, 200).center_to_previous)
    assert found[5] == pytest.approx(0.1)
    assert found[0] == pytest.approx(-10.4 * np.sin(0.1), abs=1e-6)
    assert found[1] == pytest.approx(10.4 * (np.cos(0.1) - 1), abs=1e-6)


def test_the_same_pixel_goes_to_the_same_place_whatever_centre_it_is_told_about():
    """A point of the window, in millimetres below the top edge, moves alike by both descriptions."""
    values = np.array([0.3, -0.2, 0.7, 0.02, -0.05, 0.1])
    told = stepped(values, 200).center_to_previous
    top_to_window, top_to_frame = np.array([0, 19.2 / 2, 0]), np.array([0, 200 * 0.2 / 2, 0])
    point = np.array([4.0, 3.0, 0.0])
    by_window = motion(values[:3], values[3:]).apply(point - top_to_window) + top_to_window
    assert np.allclose(told.apply(point - top_to_frame) + top_to_frame, by_window, atol=1e-6)


def test_a_frame_as_high_as_the_window_and_a_card_about_the_frame_change_nothing():
    for step in (stepped(TURN, 96), stepped(TURN, 200, "frame-centre")):
        assert np.allclose(motion_parameters(step.center_to_previous), TURN, atol=1e-7)


def test_uncertain_angles_make_the_centre_of_a_higher_frame_uncertain():
    near, far = stepped(TURN, 96).uncertainty, stepped(TURN, 200).uncertainty
    assert near == pytest.approx([0.01] * 6)
    assert far[0] == far[2] == pytest.approx(np.hypot(0.01, 10.4 * 0.01))
    assert far[1] == far[3] == pytest.approx(0.01)


def test_the_windows_centre_is_where_the_resampler_puts_it():
    height, width, spacing = 200, 61, (0.3, 0.2)
    image = np.zeros((height, width), np.float32)
    below = Resampler(WINDOW[1], WINDOW[0], SPACING).below_centre_mm(height, spacing[1])
    at = image_to_center(width, height, spacing).inverse().apply((0, below, 0))
    image[int(at[1]) : int(at[1]) + 2, width // 2] = 1000  # the centre lies on the line between two rows
    window = Resampler(WINDOW[1], WINDOW[0], SPACING)(image, spacing)
    y, x = np.indices(window.shape)
    assert (window * y).sum() / window.sum() == pytest.approx((WINDOW[0] - 1) / 2, abs=0.3)
    assert (window * x).sum() / window.sum() == pytest.approx((WINDOW[1] - 1) / 2, abs=0.1)
    assert moved(motion(TURN[:3], TURN[3:]), 0.0).name == "CenterToPreviousCenter"


def test_layers_that_do_not_fit_their_normalisation_are_refused():
    layer = {"scale": "a.scale", "shift": "a.shift", "statistics": "a.statistics", "mean": [0.0, 0.0], "variance": [1.0, 1.0]}
    one = [{"input": name, "shape": [1], "values": [1.0]} for name in ("a.scale", "a.shift")]
    with pytest.raises(BundleCorrupt, match=r"layer a\.statistics does not fit"):
        card(layers=[layer], normalisation=one)
    two = [{"input": name, "shape": [2], "values": [1.0, 1.0]} for name in ("a.scale", "a.shift")]
    assert card(layers=[layer], normalisation=two).signature()[1]["a.statistics"] == ((2, 2), "float32")
