"""TUS-REC's submission function on a written scan: shapes, order and convention against the challenge's own formula."""

from __future__ import annotations

import functools

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from tiny_network import card_json, step_graph

from edge.evaluation.measures import measure
from edge.files.tus_rec import BadTusRec, image_poses, read_calibration, write_tus_rec
from edge.motion import Step
from edge.motion.accuracy import CANONICAL_SIGN, chain_of_poses, chain_of_steps, grid, steps_of
from edge.motion.card import parse_card
from edge.transform import Transform, image_to_center, motion
from export.golden_frames import random_frames
from export.pack import pack
from export.tusrec_submission import BadScan, displacements, estimate, predict_ddfs

N, HEIGHT, WIDTH = 7, 48, 64
# The public calibration of the older UCL set: pixel size, and the image in the tracked tool.
SPACING_MM = 0.22447395, 0.23554039
PIXEL_TO_MM = np.diag([*SPACING_MM, 1, 1])
IMAGE_TO_TOOL = np.array(
    [
        [-0.22424, 0.23241, -0.94642, -67.517],
        [-0.96461, -0.19116, 0.18160, -79.758],
        [-0.13871, 0.95365, 0.26705, -49.037],
        [0, 0, 0, 1],
    ]
)
STEPS = np.random.default_rng(0).normal(0, 1, (N - 1, 6)) * [0.2, 0.1, 0.1, 0.01, 0.01, 0.01] + [0, 0, 0.4, 0, 0, 0]
LANDMARKS = np.array([[1, 1, 1], [3, 64, 48], [6, 20, 30], [0, 5, 5]])


class Known:
    """A source that says the true canonical motions."""

    name, relative, backend = "known", True, ""

    def __init__(self, steps):
        self._steps = steps

    def start(self, frame, image):
        return Step()

    def step(self, frame, image, elapsed_frames):
        one = self._steps[frame.sequence - 1]
        return Step(center_to_previous=motion(one[:3], one[3:]))


@pytest.fixture
def scan(tmp_path):
    """A scan as the challenge writes it: frames, tool poses and the calibration, read back from their files."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (pip install 'sonosweep[train]')")
    frames = np.random.default_rng(1).integers(0, 256, (N, HEIGHT, WIDTH), np.uint8)
    to_center = image_to_center(WIDTH, HEIGHT, SPACING_MM)
    poses = [Transform("Center", "Reference", matrix) @ to_center for matrix in chain_of_steps(STEPS)]
    write_tus_rec(tmp_path / "LH_Par_C_DtP.h5", frames, poses, SPACING_MM, IMAGE_TO_TOOL)
    with h5py.File(tmp_path / "LH_Par_C_DtP.h5") as file:
        return tmp_path / "calib_matrix.csv", file["frames"][()], file["tforms"][()]


def chain_of(path, tforms):
    """CenterToFirst of each frame, from the scan's files."""
    return chain_of_poses(image_poses(path, tforms, read_calibration(path)), WIDTH, HEIGHT, SPACING_MM)


def all_pixels():
    columns, rows = np.meshgrid(np.arange(1, WIDTH + 1), np.arange(1, HEIGHT + 1))
    return np.stack([columns.ravel(), rows.ravel(), 0 * rows.ravel(), 1 + 0 * rows.ravel()]).astype(float)


def challenge(tforms, frame, to, pixels):
    """T_cal^-1 T_tool(to)^-1 T_tool(frame) T_cal S p - S p, mm [3, pixels]."""
    cal, placed = IMAGE_TO_TOOL, PIXEL_TO_MM @ pixels
    transform = np.linalg.inv(cal) @ np.linalg.inv(tforms[to]) @ tforms[frame] @ cal
    return (transform @ placed - placed)[:3]


def test_true_motion_gives_the_displacements_of_the_challenges_formula(scan):
    _, frames, tforms = scan
    chain = estimate(Known(STEPS), frames, PIXEL_TO_MM)
    global_all, global_marks, local_all, local_marks = displacements(chain, frames.shape, LANDMARKS, PIXEL_TO_MM)
    assert global_all.shape == local_all.shape == (N - 1, 3, HEIGHT * WIDTH) and global_all.dtype == np.float32
    assert global_marks.shape == local_marks.shape == (3, len(LANDMARKS))
    for frame in range(1, N):
        assert np.abs(global_all[frame - 1] - challenge(tforms, frame, 0, all_pixels())).max() < 2e-3
        assert np.abs(local_all[frame - 1] - challenge(tforms, frame, frame - 1, all_pixels())).max() < 2e-3
    for index, (frame, column, row) in enumerate(LANDMARKS[:3]):
        pixel = np.array([[column], [row], [0], [1.0]])
        assert global_marks[:, index] == pytest.approx(challenge(tforms, frame, 0, pixel)[:, 0], abs=2e-3)
        assert local_marks[:, index] == pytest.approx(challenge(tforms, frame, frame - 1, pixel)[:, 0], abs=2e-3)
        assert global_marks[:, index] == pytest.approx(global_all[frame - 1][:, (row - 1) * WIDTH + column - 1], abs=1e-4)
    assert not global_marks[:, 3].any(), "the first frame has not moved"


def test_the_challenges_errors_are_the_measures_of_evaluate(scan):
    path, frames, tforms = scan
    chains = chain_of(path, tforms), chain_of_steps(STEPS * 0.8)
    fields = [displacements(chain, frames.shape, LANDMARKS, PIXEL_TO_MM) for chain in chains]
    gpe, gle, lpe, lle = (np.linalg.norm(a - b, axis=-2) for a, b in zip(*fields, strict=True))
    marks = LANDMARKS[:, 0], np.zeros((len(LANDMARKS), 3))
    marks[1][:, :2] = (LANDMARKS[:, 1:] - np.array([WIDTH + 1, HEIGHT + 1]) / 2) * SPACING_MM
    ours = measure(*chains, grid(WIDTH, HEIGHT, SPACING_MM), marks)
    assert (ours.gpe_mm, ours.lpe_mm) == pytest.approx((gpe.mean(), lpe.mean()), rel=5e-3)
    assert (ours.gle_mm, ours.lle_mm) == pytest.approx((gle[:3].mean(), lle[:3].mean()), rel=1e-3)


def test_poses_and_chains_are_inverse_to_each_other(scan):
    path, _, tforms = scan
    assert np.allclose(steps_of(chain_of(path, tforms)), STEPS, atol=1e-4)


def test_a_bundle_is_bound_and_called_as_the_challenge_calls(scan, tmp_path):
    path, frames, _ = scan
    tiny = parse_card(card_json(), "card.json")
    pack(tiny, {"fp32": step_graph().SerializeToString()}, random_frames(tiny, 6), tmp_path / "tiny.zip")
    plus, minus = (functools.partial(predict_ddfs, model=tmp_path / "tiny.zip", direction=sign) for sign in "+-")
    answers = plus(frames, LANDMARKS, str(path), "cpu"), minus(frames, LANDMARKS, str(path), "cpu")
    assert [one.shape for one in answers[0]] == [(N - 1, 3, HEIGHT * WIDTH), (3, 4), (N - 1, 3, HEIGHT * WIDTH), (3, 4)]
    assert all(np.isfinite(one).all() for one in answers[0])
    assert answers[0][0][:, 2].mean() > 0
    assert np.allclose(answers[0][0][:, 2], -answers[1][0][:, 2], atol=1e-5), "the other direction is the mirror"


def test_a_direction_mirrors_the_scan(scan):
    _, frames, _ = scan
    chain = estimate(Known(STEPS), frames, PIXEL_TO_MM, "-")
    assert np.allclose(chain, chain_of_steps(STEPS * CANONICAL_SIGN))


@pytest.mark.parametrize("marks", [[[7, 1, 1]], [[1, 0, 1]], [[1, 65, 1]], [[1, 1, 49]]])
def test_landmarks_outside_of_the_scan_are_refused(scan, marks):
    _, frames, _ = scan
    with pytest.raises(BadScan, match="column from 1"):
        displacements(chain_of_steps(STEPS), frames.shape, np.array(marks), PIXEL_TO_MM)


def test_images_of_another_form_are_refused():
    with pytest.raises(BadScan, match="uint8"):
        estimate(Known(STEPS), np.zeros((N, 4, 4), np.float32), PIXEL_TO_MM)


def rows(*values: str) -> str:
    return "".join(f"head\n{4 * value}" for value in values)


def table(pixel_mm: float, stretch: float) -> str:
    """Two matrices, the second of which turns and stretches."""
    return "".join(f"head\n{v},0,0,0\n0,{v},0,0\n0,0,{v},0\n0,0,0,1\n" for v in (pixel_mm, stretch))


@pytest.mark.parametrize(
    "text", ["", "head\n1,2,3,4\n", rows("1,0,0,x\n", "1,0,0,0\n"), rows("0,0,0,0\n", "1,0,0,0\n"), table(1, 2), table(0, 1)]
)
def test_a_file_that_is_no_calibration_is_refused_by_its_name(tmp_path, text):
    (tmp_path / "calib_matrix.csv").write_text(text)
    with pytest.raises(BadTusRec, match=r"calib_matrix\.csv"):
        read_calibration(tmp_path / "calib_matrix.csv")
    with pytest.raises(BadTusRec, match=r"name the calib_matrix\.csv"):
        read_calibration(tmp_path / "none.csv")
