"""The picture of a volume shows what is in it, at its place and scale."""

import numpy as np
from PIL import Image

from edge.files.volumes import Volume
from edge.latency import Latencies
from edge.picture import BACKGROUND, MARGIN, PANEL, draw
from edge.transform import Transform


def a_volume(value=200, **changes):
    intensity = np.zeros((20, 40, 30), np.uint8)
    intensity[5:15, 10:20, 5:15] = value
    state = (intensity > 0).astype(np.uint8)
    return Volume(intensity, changes.get("origin_mm", (0.0, 0.0, 0.0)), 0.5, {}, changes.get("state", state))


def panel(picture, number):
    left, top = MARGIN + (number % 3) * (PANEL + MARGIN), 30 + MARGIN + (number // 3) * (PANEL + MARGIN)
    return np.asarray(picture)[top : top + PANEL, left : left + PANEL]


def test_slices_and_projections_show_the_bright_block(tmp_path):
    poses = [Transform("Image", "Reference", np.diag([0.5, 0.5, 1, 1.0])), Transform("Image", "Reference", np.eye(4))]
    draw(tmp_path / "v.png", {"ultrasound": a_volume()}, poses, (30, 40), "a block")
    picture = Image.open(tmp_path / "v.png")
    for number in range(5):
        shown = panel(picture, number).max(axis=2)
        share = (shown[:, :] > 150).mean()
        assert 0.02 < share < 0.6, number
    assert (panel(picture, 5) != BACKGROUND).any()


def test_voxels_that_were_not_measured_look_different(tmp_path):
    invented = np.where(a_volume().intensity > 0, 2, 0).astype(np.uint8)
    draw(tmp_path / "m.png", {"ultrasound": a_volume()}, [], (30, 40), "measured")
    draw(tmp_path / "i.png", {"ultrasound": a_volume(state=invented)}, [], (30, 40), "interpolated")
    measured, interpolated = (panel(Image.open(tmp_path / name), 0).astype(int) for name in ("m.png", "i.png"))
    block = measured[..., 0] > 150
    assert (measured[block][:, 0] == measured[block][:, 2]).mean() > 0.9
    assert (interpolated[block][:, 2] - interpolated[block][:, 0]).mean() > 40


def test_a_photoacoustic_channel_lies_over_the_ultrasound_where_it_was_measured(tmp_path):
    ultrasound = a_volume(100)
    light = Volume(np.full((4, 4, 4), 250, np.uint8), (5.0, 7.0, 4.5), 0.5, {}, np.ones((4, 4, 4), np.uint8))
    draw(tmp_path / "v.png", {"ultrasound": ultrasound, "photoacoustic": light}, [], (30, 40), "two")
    shown = panel(Image.open(tmp_path / "v.png"), 3).astype(int)
    warm = (shown[..., 0] - shown[..., 2]) > 60
    assert warm.any() and warm.mean() < 0.2


def test_percentiles_stay_bounded_and_true():
    times = Latencies()
    for ms in [1.0] * 98 + [50.0, 5000.0]:
        times.add("stage", int(ms * 1e6))
    p50, p99, longest = times.summary()["stage"]
    assert abs(p50 - 1.0) < 0.11 and 49 < p99 <= 2000 and longest == 5000
