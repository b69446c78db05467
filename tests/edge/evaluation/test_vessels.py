"""Measures of vessels: right where the answer is known, worse where poses are worse, and blind to what alignment may mend."""

import numpy as np
import pytest

from edge.evaluation.vessels import NoVessels, centre_line_error_mm, compare_vessels, find, rigid, sampled
from edge.files.volumes import Volume
from edge.simulation import Freehand, SimulationSettings, as_frames, simulate_sweep
from edge.transform import Transform

SPACING_MM = 0.5
STRAIGHT = Freehand(step_mm=0.5, step_variation=0.0, sway_mm=(0.0, 0.0), tilt_deg=(0.0, 0.0, 0.0), tremor_mm=0.0)


class Swept:
    """A short noise-free sweep over vessels, with its true poses."""

    def __init__(self, step_mm=0.4):
        hand = Freehand(step_mm, *(getattr(STRAIGHT, name) for name in ("step_variation", "sway_mm", "tilt_deg", "tremor_mm")))
        settings = SimulationSettings(
            frames=127, image_size=(100, 90), spacing_mm=(0.4, 0.4), wavelengths_nm=(750.0, 850.0), hand=hand, speckle=False, seed=3
        )
        sweep = simulate_sweep(settings)
        self.phantom, self.frames = sweep.phantom, list(as_frames(sweep))
        self.true = {frame.sequence: frame.pose for frame in self.frames if frame.modality == "bmode"}
        self.corners = np.array([(x, y, 0.0) for x in (0, 99) for y in (0, 89)])

    def find(self, change=None):
        poses = self.true
        if change:
            poses = {n: Transform("Image", "Reference", change(n, pose.matrix.copy())) for n, pose in poses.items()}
        return find(self.frames, poses, self.phantom, SPACING_MM)

    def compare(self, **changes):
        found = {name: self.find(change) for name, change in changes.items()}
        rows = compare_vessels(self.find(), found, self.phantom, self.corners)
        return {row["motion"]: row for row in rows}


@pytest.fixture(scope="module")
def swept():
    return Swept()


def shifted(n, matrix):
    matrix[:3, 3] += (3.0, -2.0, 1.0)
    return matrix


def stretched(n, matrix):
    matrix[2, 3] *= 1.2  # light of one wavelength is then 1.92 mm apart: still bridged
    return matrix


def bent(n, matrix):
    matrix[0, 3] += 3.0 * np.sin(n / 8)
    return matrix


def test_true_poses_find_the_vessels_where_they_are(swept):
    row = swept.compare()["true poses"]
    assert len(row["dice_pieces"]) == 2 and min(row["dice_pieces"]) > 0.93 and row["dice_of_true_poses"] == 1
    assert row["placement_mm"] == 0 and row["centre_line_mm"] < 0.25
    assert row["saturation_error_points"] < 2 and row["saturation_bias_points"] < 2


def test_a_rigid_shift_costs_no_overlap_and_all_of_its_length_in_place(swept):
    rows = swept.compare(moved=shifted)
    moved = rows["moved"]
    assert abs(moved["dice"] - rows["true poses"]["dice"]) < 0.03
    assert np.isclose(moved["placement_mm"], np.sqrt(14)) and 1.5 < moved["centre_line_mm"] < np.sqrt(14)


def test_what_alignment_cannot_mend_costs_overlap(swept):
    rows = swept.compare(bent=bent, stretched=stretched)
    assert rows["bent"]["dice_of_true_poses"] < 0.75 < rows["stretched"]["dice_of_true_poses"] < 0.99
    assert rows["stretched"]["placement_mm"] > 5


def test_a_sweep_that_goes_backwards_is_measured_alike():
    row = Swept(step_mm=-0.4).compare(same=lambda n, matrix: matrix)["same"]
    assert row["dice"] > 0.93 and row["centre_line_mm"] < 0.25 and row["placement_mm"] < 1e-9


def test_the_alignment_turns_and_never_mirrors():
    random = np.random.default_rng(2)
    points = random.normal(size=(12, 3))
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    rotation, shift = rigid(points, points @ turn.T + (1, 2, 3))
    assert np.allclose(rotation, turn) and np.allclose(shift, (1, 2, 3))
    assert np.isclose(np.linalg.det(rigid(points, points * (1, 1, -1))[0]), 1)


def test_values_between_voxels_are_linear_and_outside_is_nothing():
    grey = np.zeros((2, 2, 2), np.uint8)
    grey[0, 0, 1], grey[1, 1, 1] = 100, 200
    volume = Volume(grey, (10.0, 20.0, 30.0), 0.5)
    points = np.array([(10.5, 20, 30), (10.25, 20, 30), (10.5, 20.25, 30.25), (11.5, 20, 30)])
    assert np.allclose(sampled(volume, points), (100, 50, 75, 0))


def test_centre_lines_of_half_the_vessels_are_far_from_those_of_all(swept):
    found = swept.find()
    held = found.light.intensity.copy()
    held[:, :, held.shape[2] // 2 :] = 0
    half = type(found)(found.poses, found.volumes, Volume(held, found.light.origin_mm, SPACING_MM, {}, found.light.state), None)
    assert centre_line_error_mm(half, swept.phantom) > centre_line_error_mm(found, swept.phantom) + 1


def test_a_sweep_shorter_than_a_piece_and_one_without_light_are_refused(swept):
    short = find(swept.frames[:31], {n: pose for n, pose in swept.true.items() if n < 31}, swept.phantom, SPACING_MM)
    with pytest.raises(NoVessels, match="pieces are 20 mm"):
        compare_vessels(short, {}, swept.phantom, swept.corners)
    with pytest.raises(NoVessels, match="no photoacoustic"):
        find([frame for frame in swept.frames if frame.modality == "bmode"], swept.true, swept.phantom, SPACING_MM)
