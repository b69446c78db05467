"""Simulated training sweeps: labels, persistence, reproducibility, the held-out set, the command."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.app import main  # noqa: E402
from edge.files import open_sweep  # noqa: E402
from edge.motion.accuracy import accuracy, chain_of_poses, chain_of_steps, repeated, steps_of  # noqa: E402
from export.training import held_out  # noqa: E402
from export.training.generate import SeedKept, generate, sweep_path  # noqa: E402
from export.training.paths import freehand_motion, placed  # noqa: E402
from export.training.source import WARM_UP, Look, draw_hand, render, sweep_along  # noqa: E402
from export.training.speckle import SpeckleBank, Spread  # noqa: E402
from export.training.sweeps import HELD_OUT_SEED, Window, load_training_sweep  # noqa: E402

WINDOW = Window(48, 40, (0.267, 0.225))
STILL = np.zeros((5 + WARM_UP, 6))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bank() -> SpeckleBank:
    return SpeckleBank(Spread(0.2, 0.4, 1.2, 5.0, 25.0, 50.0, looks=2), 9.0, 1, cells=(64, 32))


def look(**changes: object) -> Look:
    plain = Look.drawn(np.random.default_rng(1))
    quiet = replace(plain, noise_share=0.0, floor_db=-90.0, persistence=0.0, averaged=0, gain_jitter_db=0.0, sector_mm=0.0)
    return replace(quiet, lost_contact=(0.0, 0.0), line=(0.0, 0.0, 1.0), **changes)  # type: ignore[arg-type]


def seen(motion: np.ndarray, how: Look, bank: SpeckleBank, seed: int = 4) -> np.ndarray:
    sweep = sweep_along(motion, bank, how, np.random.default_rng(seed), WINDOW, "seen", 20.0)
    return sweep.windows.astype(np.float64)


def test_a_probe_at_rest_sees_the_same_image_again(bank: SpeckleBank) -> None:
    images = seen(STILL, look(), bank)
    assert np.ptp(images, axis=0).max() <= 1
    assert images[0].std() > 10


def test_a_lateral_step_of_one_pixel_moves_the_image_by_one_pixel(bank: SpeckleBank) -> None:
    motion = STILL.copy()
    motion[:, 0] = 0.267
    images = seen(motion, look(edge_db=0.0), bank)
    assert np.abs(images[0][:, 2:-1] - images[1][:, 1:-2]).mean() < 0.1 * np.abs(images[0] - images[1]).mean()


def test_persistence_keeps_its_share_of_the_frame_before(bank: SpeckleBank) -> None:
    motion = STILL.copy()
    motion[:, 2] = 0.5
    plain, kept = seen(motion, look(), bank), seen(motion, look(persistence=0.4), bank)
    assert np.abs(kept[1:] - (0.6 * plain[1:] + 0.4 * kept[:-1])).max() <= 1.5
    mean = seen(motion, look(averaged=2), bank)
    assert np.abs(mean[1:] - (plain[1:] + plain[:-1]) / 2).max() <= 1.5


def test_larger_elevational_steps_decorrelate_more(bank: SpeckleBank) -> None:
    left = []
    for step in (0.2, 0.8, 2.0):
        motion = STILL.copy()
        motion[:, 2] = step
        images = seen(motion, look(), bank)
        left.append(np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1])
    assert left[0] > left[1] > left[2]


def test_labels_are_the_motion_of_the_windows_centre() -> None:
    random = np.random.default_rng(5)
    motion = freehand_motion(20, draw_hand(random), random)
    assert np.allclose(steps_of(placed(motion, random)), motion, atol=1e-9)


def test_backward_paths_come_out_canonical_with_the_same_images(bank: SpeckleBank) -> None:
    motion = STILL.copy()
    motion[:, 2] = -0.5
    sweep = sweep_along(motion, bank, look(), np.random.default_rng(4), WINDOW, "back", 20.0)
    assert sweep.motion[:, 2] == pytest.approx(0.5)


def test_a_convex_probe_sees_a_sector(bank: SpeckleBank) -> None:
    chain = placed(STILL, np.random.default_rng(1))
    from export.training.phantoms import Tissue

    tissue = Tissue(np.random.default_rng(2), 9.0, 10.0, 12.8)
    images = render(chain, tissue, bank, look(sector_mm=40.0, brightness=150.0), np.random.default_rng(3), Window(192, 40, (0.267, 0.225)))
    assert not images[:, :, 0].any() and images[:, 30, 96].any()


def test_the_same_seed_writes_the_same_sweeps_and_what_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.training.source.Window", lambda: WINDOW)
    first = list(generate(2, 5, 7, tmp_path / "a", processes=1))
    again = list(generate(2, 5, 7, tmp_path / "b", processes=1))
    assert [p.name for p in first] == [sweep_path(tmp_path, 7, i).name for i in range(2)]
    one, other = load_training_sweep(first[1]), load_training_sweep(again[1])
    assert np.array_equal(one.windows, other.windows) and np.array_equal(one.motion, other.motion)
    assert one.windows.shape == (5, 40, 48) and one.motion.shape == (4, 6)
    written = first[0].stat().st_mtime_ns
    list(generate(2, 5, 7, tmp_path / "a", processes=1))
    assert first[0].stat().st_mtime_ns == written


def test_seeds_of_the_held_out_sweeps_are_refused_for_training(tmp_path: Path) -> None:
    with pytest.raises(SeedKept, match="held-out"):
        list(generate(1, 5, HELD_OUT_SEED, tmp_path))


def test_workers_end_with_the_command_however_it_ends(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "edge", "export", "source", "-o", str(tmp_path), "--sweeps", "64", "--frames", "5", "--processes", "2"]
    command = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not list(tmp_path.glob("*.npz")):
            assert command.poll() is None
            time.sleep(0.05)
        workers = [int(child) for child in Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()]
        assert workers
    finally:
        command.kill()
        command.wait()
    for _ in range(200):
        if not any(Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes() for worker in workers):
            return
        time.sleep(0.05)
    raise AssertionError("workers go on without their parent")


def test_the_held_out_set_is_what_was_agreed_before_training() -> None:
    plans = [held_out.planned(i) for i in range(20)]
    paths = [np.linalg.norm(p.motion[WARM_UP:, :3], axis=1).sum() for p in plans]
    assert all(80 <= length <= 205 for length in paths)
    assert {p.look.persistence for p in plans} == {0.3, 0.4, 0.5, 0.6}
    assert sum(p.tilting for p in plans) == 7 and len({p.window for p in plans}) >= 3 and any(p.look.sector_mm for p in plans)
    mean = np.mean(np.concatenate([np.abs(p.motion) * [0, 0, 1, 0, 0, 0] for p in plans]), 0)
    drifts = []
    for plan in plans:
        true = chain_of_steps(plan.motion[WARM_UP:])
        drifts.append(accuracy(true, repeated(mean, len(true)), np.zeros((1, 3))).final_drift_rate_percent)
    assert np.mean(drifts) >= 25


def test_the_plan_of_a_held_out_sweep_never_changes() -> None:
    plan = held_out.planned(3)
    assert len(plan.motion) == 341
    assert plan.motion[10] == pytest.approx([-0.3131104, 0.0286522, 0.5241532, 0.0026728, 0.0025667, -0.000418], abs=1e-6)


def test_a_held_out_sweep_is_written_with_the_poses_of_its_motion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "PROBES", ((48, 40, 0.25, 0.0),))
    sweep = held_out.held_out_sweep(1, 4)
    from edge.files import write_sweep

    write_sweep(tmp_path / "s.igs.mha", held_out.as_frames(sweep))
    frames = list(open_sweep(tmp_path / "s.igs.mha").frames())
    poses = [frame.pose for frame in frames]
    chain = chain_of_poses(poses, 48, 40, (0.25, 0.25))  # type: ignore[arg-type]
    assert np.allclose(steps_of(chain), sweep.motion, atol=1e-5)
    assert np.array_equal(frames[2].pixels, sweep.images[2])
    assert poses[0].matrix[:3, :2] == pytest.approx(np.array([[0.25, 0], [0, 0.25], [0, 0]]), abs=1e-9)  # type: ignore[union-attr]


def test_the_command_writes_sweeps_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.training.source.Window", lambda: WINDOW)
    assert main(["export", "source", "-o", str(tmp_path / "out"), "--sweeps", "1", "--frames", "5", "--processes", "1", "--json"]) == 0
    assert '"sweeps": 1' in capsys.readouterr().out
    assert main(["export", "source"]) != 0
    assert "name a folder" in capsys.readouterr().err
