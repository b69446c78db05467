"""Training sweeps out of files: the window's own motion, canonical pieces, and what is done to sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install 'sonosweep[train]')")

from edge.files import write_sweep
from edge.messages import Frame, Geometry
from edge.motion.accuracy import CANONICAL_SIGN, chain_of_steps, steps_of
from edge.motion.resample import Resampler
from edge.transform import Transform, first_image_to_reference, image_to_center
from export.training.augment import lifted, shadowed
from export.training.data import NoTrainingSweeps, open_sweeps, tracked_pieces
from export.training.pieces import turning_points, window_chain
from export.training.sweeps import (
    BadTrainingSweep,
    TrainingSweep,
    Window,
    canonical,
    load_training_sweep,
    reversed_motion,
    save_training_sweep,
    skipped_motion,
)
from export.training.tusrec import BadTusRec, read_calibration, read_tus_rec, write_tus_rec

LEG = Path(__file__).parents[3].parent / "shared" / "data" / "leg"
WINDOW = Window(24, 16, (0.4, 0.5))
SIZE, SPACING = (30, 26), (0.3, 0.35)
TO_TOOL = np.array([[0, -1, 0, 11.0], [0.6, 0, 0.8, -70.0], [-0.8, 0, 0.6, 30.0], [0, 0, 0, 1]])


def motion(frames: int = 9, elevational: float = 0.6, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    steps = random.normal(0, [0.3, 0.1, 0.1, 0.01, 0.01, 0.01], (frames - 1, 6))
    steps[:, 2] += elevational
    return steps


def poses(steps: np.ndarray) -> list[Transform]:
    """ImageToReference along ``steps`` about the image's centre."""
    to_center = image_to_center(*SIZE, SPACING)
    start = first_image_to_reference(SPACING).matrix @ to_center.inverse().matrix
    return [Transform("Image", "Reference", start @ pose @ to_center.matrix) for pose in chain_of_steps(steps)]


def images(frames: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, *SIZE[::-1]), np.uint8)


def expected(steps: np.ndarray) -> np.ndarray:
    """Motion about the window's centre, computed from points: where the centre and two points beside it go."""
    below = WINDOW.height * WINDOW.spacing_mm[1] / 2 - SIZE[1] * SPACING[1] / 2
    shift = np.eye(4)
    shift[1, 3] = below
    return steps_of(chain_of_steps(steps) @ shift)


def write(path: Path, steps: np.ndarray, without_pose: tuple[int, ...] = ()) -> np.ndarray:
    pixels = images(len(steps) + 1)
    geometry = Geometry(width=SIZE[0], height=SIZE[1], spacing_mm=SPACING, depth_mm=9.0)
    frames = [
        Frame(
            boot_id=1,
            sweep=1,
            sequence=i,
            timestamp_ns=i * 50_000_000,
            geometry=geometry,
            pose_status="missing" if i in without_pose else "ok",
            image_to_reference=None if i in without_pose else tuple(pose.matrix.ravel().tolist()),
            pixels=pixels[i],
        )
        for i, pose in enumerate(poses(steps))
    ]
    write_sweep(path, frames)
    return pixels


def test_a_tracked_sweep_gives_resampled_windows_and_motion_about_the_windows_centre(tmp_path: Path) -> None:
    steps = motion()
    pixels = write(tmp_path / "a.igs.mha", steps)
    (sweep,) = tracked_pieces(tmp_path / "a.igs.mha", WINDOW)
    assert np.allclose(sweep.motion, expected(steps), atol=1e-5)
    assert not np.allclose(sweep.motion[:, :3], steps[:, :3], atol=1e-3)  # about the image's centre it is another motion
    assert np.array_equal(sweep.windows[4], np.rint(Resampler(24, 16, (0.4, 0.5))(pixels[4], SPACING)).astype(np.uint8))
    assert sweep.frames_per_s == pytest.approx(20) and sweep.spacing_mm == WINDOW.spacing_mm


def test_a_backward_sweep_comes_out_as_its_mirror_image(tmp_path: Path) -> None:
    forward, backward = motion(), motion() * CANONICAL_SIGN
    write(tmp_path / "f.igs.mha", forward)
    write(tmp_path / "b.igs.mha", backward)
    (f,), (b,) = (tracked_pieces(tmp_path / name, WINDOW) for name in ("f.igs.mha", "b.igs.mha"))
    assert np.allclose(f.motion, b.motion, atol=1e-5)


def test_a_frame_without_a_pose_parts_a_sweep(tmp_path: Path) -> None:
    write(tmp_path / "a.igs.mha", motion(12), without_pose=(5,))
    assert [len(piece) for piece in tracked_pieces(tmp_path / "a.igs.mha", WINDOW)] == [5, 6]
    write(tmp_path / "short.igs.mha", motion(4), without_pose=(2,))
    with pytest.raises(NoTrainingSweeps, match="follow each other"):
        tracked_pieces(tmp_path / "short.igs.mha", WINDOW)


def test_a_probe_that_turns_round_makes_two_canonical_pieces(tmp_path: Path) -> None:
    there = motion(12)
    back = there.copy()
    back[:, 2] *= -1
    write(tmp_path / "a.igs.mha", np.concatenate([there, back]))
    pieces = tracked_pieces(tmp_path / "a.igs.mha", WINDOW)
    assert [len(piece) for piece in pieces] == [12, 12]
    assert all(piece.motion[:, 2].mean() > 0.4 for piece in pieces)


@pytest.mark.parametrize(
    ("path", "turns"),
    [([0, 1, 2, 3, 4], []), ([0, 4, 8, 4, 0, 4], [2, 4]), ([0, -5, -9, -3], [2]), ([0, 2, 0, 2, 0, 5], []), ([5.0], [])],
)
def test_only_a_real_way_back_is_a_turning_point(path: list[float], turns: list[int]) -> None:
    assert turning_points(np.array(path, float)) == turns


def test_motion_reversed_twice_is_the_motion_again() -> None:
    steps = canonical(motion())
    assert np.allclose(reversed_motion(reversed_motion(steps)), steps, atol=1e-6)
    assert reversed_motion(steps)[:, 2].mean() > 0


def test_skipped_frames_compose_their_motions() -> None:
    steps = motion(9)
    kept = np.array([0, 1, 3, 6, 8])
    skipped = skipped_motion(steps, kept)
    assert np.allclose(chain_of_steps(skipped.astype(np.float64))[-1], chain_of_steps(steps)[-1], atol=1e-5)
    assert np.allclose(skipped[0], steps[0], atol=1e-6)


def test_the_window_of_an_image_of_its_own_size_has_the_images_centre() -> None:
    chain = chain_of_steps(motion())
    assert np.allclose(window_chain(chain, 16, 0.5, WINDOW), chain)


def test_a_folder_of_all_kinds_is_one_list_of_sweeps(tmp_path: Path) -> None:
    steps = motion()
    pixels = write(tmp_path / "b.igs.mha", steps)
    held = TrainingSweep(np.zeros((3, 16, 24), np.uint8), np.ones((2, 6), np.float32), (0.4, 0.5), "sim", 30.0)
    save_training_sweep(tmp_path / "a.npz", held)
    again = load_training_sweep(tmp_path / "a.npz")
    assert again.name == "sim" and again.frames_per_s == 30 and again.spacing_mm == (0.4, 0.5)
    sweeps = open_sweeps(tmp_path, WINDOW)
    assert [len(sweep) for sweep in sweeps] == [3, len(pixels)] and len(sweeps) == 2


def test_what_is_no_training_sweep_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(BadTrainingSweep, match="export source"):
        load_training_sweep(tmp_path / "a.npz")
    with pytest.raises(BadTrainingSweep, match="belong"):
        TrainingSweep(np.zeros((3, 4, 4), np.uint8), np.zeros((3, 6), np.float32), (1, 1), "x")
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "nowhere.igs.mha"):
        with pytest.raises(NoTrainingSweeps, match=r"no sweep to train on|is not there"):
            open_sweeps(nothing)


def test_a_scan_of_tus_rec_reads_as_the_same_sweep_as_the_file_it_came_from(tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="HDF5 needs h5py")
    steps = motion()
    pixels = write(tmp_path / "a.igs.mha", steps)
    table = write_tus_rec(tmp_path / "scans" / "LH_Par_C.h5", pixels, poses(steps), SPACING, TO_TOOL)
    (direct,) = tracked_pieces(tmp_path / "a.igs.mha", WINDOW)
    (scan,) = read_tus_rec(tmp_path / "scans" / "LH_Par_C.h5", table, WINDOW)
    assert np.array_equal(scan.windows, direct.windows)
    assert np.allclose(scan.motion, direct.motion, atol=1e-5)
    (found,) = open_sweeps(tmp_path / "scans", WINDOW)
    assert found.name == "LH_Par_C"


def test_transforms_of_tus_rec_are_found_beside_the_frames_too(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 needs h5py")
    steps = motion()
    table = write_tus_rec(tmp_path / "frames" / "s.h5", images(9), poses(steps), SPACING, TO_TOOL)
    whole = read_tus_rec(tmp_path / "frames" / "s.h5", table, WINDOW)
    (tmp_path / "transfs").mkdir()
    with h5py.File(tmp_path / "frames" / "s.h5", "a") as file, h5py.File(tmp_path / "transfs" / "s.h5", "w") as beside:
        beside["tforms"] = file["tforms"][:]
        del file["tforms"]
    parted = read_tus_rec(tmp_path / "frames" / "s.h5", table, WINDOW)
    assert np.array_equal(whole[0].motion, parted[0].motion)


def test_what_is_no_scan_of_tus_rec_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="HDF5 needs h5py")
    table = write_tus_rec(tmp_path / "s.h5", images(9), poses(motion()), SPACING, TO_TOOL)
    scale, to_tool = read_calibration(table)
    assert np.allclose(scale, np.diag([*SPACING, 1, 1])) and np.allclose(to_tool, TO_TOOL)
    (tmp_path / "bad.csv").write_text("scale\n1,0,0,0\n")
    with pytest.raises(BadTusRec, match="two 4x4"):
        read_tus_rec(tmp_path / "s.h5", tmp_path / "bad.csv")
    (tmp_path / "t.h5").write_bytes(b"no HDF5")
    with pytest.raises(BadTusRec, match="frames and tforms"):
        read_tus_rec(tmp_path / "t.h5", table)


@pytest.mark.parametrize("darken", [lifted, shadowed])
def test_lift_off_and_shadows_only_take_light_away_and_only_somewhere(darken) -> None:
    windows = np.full((6, 40, 48), 120, np.uint8)
    random = np.random.default_rng(0)
    seen = [darken(windows, random) for _ in range(20)]
    assert all((one <= windows).all() and one.shape == windows.shape and one.dtype == np.uint8 for one in seen)
    assert any((one < 60).any() for one in seen) and all((one == 120).any() for one in seen)
    assert (windows == 120).all()


@pytest.mark.skipif(not LEG.exists(), reason="the real leg sweeps are not beside the repository")
def test_the_adaptation_pieces_of_the_leg_stay_whole_and_forward() -> None:
    (piece,) = tracked_pieces(LEG / "leg_0862_0880.igs.mha")
    assert piece.windows.shape == (19, 192, 192) and piece.motion[:, 2].mean() > 0
