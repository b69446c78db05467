"""Oxygen saturation as the tablet's page computes and draws it: the numbers, masks and colours of edge/oxygenation.py, voxel by voxel."""

from dataclasses import replace

import numpy as np
import pytest
from chromium import missing
from viewer import SPACING_MM, block, viewing

from edge.oxygenation import extinctions, oxygen_saturation
from edge.tablet import wire
from edge.tablet.unmixing import unmixing
from edge.vessel_picture import LOWEST_PERCENT, _blue_to_red

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "runs")
OXYGEN = 16  # as in unmixing.js
SIZE = (20, 22, 26)  # k, j, i: some bricks, and none of them full
ORIGIN_MM = (-6.0, 3.0, -10.0)


@pytest.fixture(scope="module")
def viewer():
    with viewing() as viewer:
        yield viewer


def lights(wavelengths_nm, seed=5):
    """A volume for each wavelength: blood of all saturations, its walls, dark places, every state, and boxes that are not the same."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(side) for side in SIZE), indexing="ij")
    share = 0.5 + 0.5 * np.sin(axes[2] / 4.0)
    strength = np.clip(1.2 * np.sin(axes[1] / 3.0), 0, 1) * (0.4 + 0.6 * np.cos(axes[0] / 9.0) ** 2)
    found = []
    for number, (nm, row) in enumerate(zip(wavelengths_nm, extinctions(wavelengths_nm), strict=True)):
        signal = strength * (share * row[0] + (1 - share) * row[1])
        grey = np.clip(240 * signal / 1500 + random.normal(0, 4, SIZE), 0, 255).astype(np.uint8)
        state = random.choice(np.array([0, 1, 2, 3], np.uint8), SIZE, p=(0.05, 0.6, 0.3, 0.05))
        grey[10:12, 3:5, 4:8] = 255 if number else 200
        grey[state == 0] = 0
        cut = np.s_[number:, : SIZE[1] - number, 2 * number :]
        origin_mm = tuple(at + SPACING_MM * off for at, off in zip(ORIGIN_MM, (2 * number, 0, number), strict=True))
        told = {"channel": f"photoacoustic-{nm}nm", "wavelength_nm": str(nm), "sweep": "1-1-0"}
        found.append(replace(block(grey[cut], 1, origin_mm), state=state[cut].copy(), metadata=told))
    return found


def show(viewer, volumes, wavelengths_nm):
    viewer.open()
    viewer.show(block(np.full(SIZE, 90, np.uint8)), *volumes)
    told = unmixing({channel: nm for channel, nm in enumerate(wavelengths_nm, 1)})
    viewer.js("viewer.volume.unmix(words[0]); viewer.scene.light = words[1]; await viewer.pause(100)", told, OXYGEN)


def every_voxel():
    k, j, i = (axis.ravel() for axis in np.meshgrid(*(np.arange(side) for side in SIZE), indexing="ij"))
    return np.stack([i, j, k], -1), np.array(ORIGIN_MM) + SPACING_MM * np.stack([i, j, k], -1)


def expected(volumes):
    """(percent, state) of every voxel of SIZE by edge/oxygenation.py."""
    found = oxygen_saturation(volumes)
    percent, state = np.zeros((2, *SIZE), int)
    i, j, k = (round((at - low) / SPACING_MM) for at, low in zip(found.origin_mm, ORIGIN_MM, strict=True))
    there = tuple(slice(low, low + side) for low, side in zip((k, j, i), found.state.shape, strict=True))
    percent[there], state[there] = found.intensity, found.state
    return percent, state


@pytest.mark.parametrize("wavelengths_nm", [(750, 850), (800, 850), (700, 760, 800, 900)])
def test_the_page_has_the_numbers_and_masks_of_the_command(viewer, wavelengths_nm):
    volumes = lights(wavelengths_nm)
    show(viewer, volumes, wavelengths_nm)
    told = viewer.js("return Promise.all(words[0].map(viewer.volume.oxygen))", every_voxel()[1].tolist())
    percent, state = expected(volumes)
    ours = np.array([one.get("percent", 0) for one in told]).reshape(SIZE)
    assert (np.array([one.get("state", 0) for one in told]).reshape(SIZE) == state).all()
    assert (state == 1).sum() > 50 and (state == 2).sum() > 50 and np.ptp(percent[state > 0]) > 50
    assert np.abs(ours - percent).max() <= 1 and (ours != percent).mean() < 0.001, "an exact half may be rounded to the other side"
    why = {one["why"] for one in told if "why" in one}
    assert why == {"unseen", "filled", "clipped", "dim", "edge"} | ({"rounding"} if wavelengths_nm == (800, 850) else set())


def test_a_slice_has_the_colour_of_the_bar_where_there_is_a_value_and_ultrasound_elsewhere(viewer):
    volumes = lights((750, 850))
    show(viewer, volumes, (750, 850))
    percent, state = expected(volumes)
    measured, masked = np.argwhere(state == 1), np.argwhere((state == 0) & (percent == 0))
    random = np.random.default_rng(2)
    for k, j, i in [*random.permutation(measured)[:12], *random.permutation(masked)[:12]]:
        point = (np.array(ORIGIN_MM) + SPACING_MM * np.array([i, j, k])).tolist()
        viewer.js("viewer.scene.cross_mm = words[0].map((mm) => mm + 0.05)", point)  # the voxel's middle is beside its lines
        x, y = viewer.js("return viewer.scene.slices[0].toPixel(words[0])", [point[0] - 0.12, point[1] - 0.12, point[2]])
        seen = viewer.picture()["lateral-axial"][int(y), int(x) - 192]
        if state[k, j, i]:
            wanted = 255 * _blue_to_red(np.clip((percent[k, j, i] - LOWEST_PERCENT) / (100 - LOWEST_PERCENT), 0, 1))
        else:
            wanted = np.full(3, 90)
        assert np.abs(seen - np.clip(wanted, 0, 255)).max() <= 3, (percent[k, j, i], state[k, j, i], seen, wanted)


def test_half_detail_has_no_saturation_and_another_volume_none_of_this_one(viewer):
    volumes = lights((750, 850))
    show(viewer, volumes, (750, 850))
    i, j, k = np.argwhere(expected(volumes)[1] == 1)[0][::-1]
    point = (np.array(ORIGIN_MM) + SPACING_MM * np.array([i, j, k])).tolist()
    assert "percent" in viewer.js("return viewer.volume.oxygen(words[0])", point)
    brick = np.array([[round(mm / SPACING_MM) // 8 for mm in point]], np.int16)
    viewer.take([wire.half_bricks(90, viewer.epoch, 2, 0.0, brick, np.full((1, 2, 64), 1, np.uint8))])
    assert viewer.js("return viewer.volume.oxygen(words[0])", point) == {"why": "coming"}
    viewer.begin()
    assert viewer.js("return viewer.volume.oxygen(words[0])", point) is None


def test_the_rays_show_the_saturation_of_the_brightest_light_and_hide_what_was_interpolated(viewer):
    """Two slabs behind each other, the hind one brighter."""
    size = (24, 24, 24)
    volumes = []
    for row in extinctions((750, 850)):
        grey, state = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        for depth, share, strength in ((4, 0.5, 0.08), (16, 0.95, 0.13)):
            grey[depth : depth + 4, 4:20, 4:20] = np.rint(strength * (share * row[0] + (1 - share) * row[1]))
            state[depth : depth + 4, 4:20, 4:20] = 1 if depth == 4 else 2
        volumes.append(block(grey, state, origin_mm=ORIGIN_MM))
    show(viewer, volumes, (750, 850))
    viewer.set3d(mode="mip", window=[0, 255])

    def share_of(percent):
        wanted = 255 * _blue_to_red(np.array((percent - LOWEST_PERCENT) / (100 - LOWEST_PERCENT)))
        return (np.abs(viewer.picture()["3d"] - wanted.clip(0, 255)).max(2) < 12).mean()

    assert share_of(95) > 0.02
    front = share_of(50)
    viewer.set3d(hide_invented=True)
    assert share_of(95) == 0 and share_of(50) > front and share_of(50) > 0.05
    viewer.set3d(hide_invented=False)
