"""The picture of vessels: depth and oxygen can be read off it, and light lies over ultrasound where it came from."""

import numpy as np
from PIL import Image

from edge.files.volumes import Volume
from edge.picture import MARGIN, PANEL
from edge.vessel_picture import draw_vessels, mean_light

ORIGIN = (0.0, 0.0, 0.0)


def light(nm, boxes):
    grey = np.zeros((80, 60, 40), np.uint8)
    for y, x, value in boxes:
        grey[:, y : y + 4, x : x + 4] = value
    return Volume(grey, ORIGIN, 0.5, {"wavelength_nm": str(nm)}, np.ones_like(grey))


def panel(path, number, box):
    """Mean colour of a box (across, down) in shares of a panel of 40 mm across."""
    left, top = MARGIN + (number % 3) * (PANEL + MARGIN), 30 + MARGIN + (number // 3) * (PANEL + MARGIN)
    (a, b), (c, d) = ([int(PANEL * share) for share in one] for one in box)
    return np.asarray(Image.open(path))[top + c : top + d, left + a : left + b].reshape(-1, 3).mean(0)


def test_depth_oxygen_and_overlay_can_be_read(tmp_path):
    boxes = [(8, 6, 200), (44, 28, 150)]  # one shallow at the left, one deep at the right
    volumes = {f"photoacoustic-{nm}nm": light(nm, boxes) for nm in (750, 850)}
    volumes["ultrasound"] = Volume(np.full((80, 60, 40), 90, np.uint8), ORIGIN, 0.5, {}, np.ones((80, 60, 40), np.uint8))
    percent = np.zeros((80, 60, 40), np.uint8)
    percent[:, 8:12, 6:10], percent[:, 44:48, 28:32] = 98, 45
    saturation = Volume(percent, ORIGIN, 0.5, {}, (percent > 0).astype(np.uint8))
    path = tmp_path / "v.png"
    draw_vessels(path, volumes, "two", volumes["ultrasound"], saturation)
    shallow, deep = ((0.3, 0.6), (0.085, 0.115)), ((0.3, 0.6), (0.36, 0.39))  # x is down in the views from above
    for number, redder in ((1, "near is red, far is blue"), (2, "full of oxygen is red, without is blue")):
        near, far = panel(path, number, shallow), panel(path, number, deep)
        assert near[0] > near[2] + 80 and far[2] > far[0] + 80, redder
    assert panel(path, 0, shallow).min() > 150 > 20 > panel(path, 0, ((0.3, 0.6), (0.2, 0.3))).max()
    over, beside = panel(path, 5, ((0.3, 0.6), (0.11, 0.14))), panel(path, 5, ((0.3, 0.6), (0.3, 0.4)))
    assert over[0] > over[2] + 60 and np.ptp(beside) < 3, "light in warm colours on grey tissue"


def test_the_mean_of_wavelengths_is_known_only_where_all_were_measured():
    one, other = light(750, [(8, 6, 200)]), light(850, [(8, 6, 100)])
    other.state[:40] = 0
    other.state[40:60] = 2
    mean = mean_light([one, other])
    assert (mean.intensity[40:, 8, 6] == 150).all() and (mean.intensity[:40] == 0).all()
    assert [int(mean.state[k, 0, 0]) for k in (0, 50, 70)] == [0, 2, 1]
