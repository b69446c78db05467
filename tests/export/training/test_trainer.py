"""The trainer: it learns, it survives a kill, it stops annealed, and several processes train one network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'sonosweep[train]')")

from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402

from export.training.checkpoint import CheckpointUnfit, checkpoint_path, load_checkpoint, mean_weights, save_checkpoint  # noqa: E402
from export.training.curves import draw_curves  # noqa: E402
from export.training.losses import gaussian_likelihood, losses  # noqa: E402
from export.training.recipes import PRESETS, BadRecipe, Recipe, learning_rate  # noqa: E402
from export.training.trainer import Trainer, TrainingFailed, averaged  # noqa: E402
from export.training.trainer_batches import Sequences  # noqa: E402
from export.training.trainer_session import curves_path, train  # noqa: E402

SIZE = 8
RECIPE = Recipe(steps=40, sequence=3, batch=4, learning_rate=2e-2, ema=0.9, likelihood_from=0.1)


class Brightness(nn.Module):
    """Motion from the mean grey of two frames: enough to be learned in a second. Batch norm and dropout, as networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("output_scale", torch.tensor([0.5, 0.25, 1.0, 0.003, 0.003, 0.002]))
        self.norm = nn.BatchNorm1d(2)
        self.trunk = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(16, 12)

    def forward(self, seen: Any, intervals: Any) -> tuple[Any, Any]:
        grey = seen.float().mean((2, 3)) / 255
        pairs = torch.stack([grey[:, 1:], grey[:, :-1]], -1)
        flat = self.norm(pairs.reshape(-1, 2))
        out = self.head(self.trunk(flat)).reshape(*pairs.shape[:2], 12)
        return out[..., :6] * self.output_scale, out[..., 6:]


def batches(rng: np.random.Generator, count: int, frames: int) -> Sequences:
    grey = rng.uniform(50, 200, (count, frames))
    images = np.broadcast_to(grey[:, :, None, None], (count, frames, SIZE, SIZE)).astype(np.uint8)
    motion = np.diff(grey, axis=1)[..., None] / 100 * [0.5, 0.25, 1.0, 0.003, 0.003, 0.002]
    return Sequences(torch.from_numpy(images), torch.from_numpy(motion.astype(np.float32)), torch.ones(count, frames - 1))


def fresh(recipe: Recipe = RECIPE) -> Trainer:
    torch.manual_seed(recipe.seed)
    return Trainer(recipe, Brightness(), batches)


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_loss_falls():
    trainer = fresh()
    trainer.run()
    first, last = (np.mean([row[2] for row in rows]) for rows in (trainer.history[:5], trainer.history[-5:]))
    assert last < 0.6 * first


def test_the_same_seed_trains_the_same_network_and_another_seed_does_not():
    trained = []
    for seed in (1, 1, 2):
        trainer = fresh(Recipe(steps=5, sequence=3, batch=2, seed=seed))
        trainer.run()
        trained.append(averaged(trainer).state_dict())
    assert same(trained[0], trained[1]) and not same(trained[0], trained[2])


def test_a_run_that_was_killed_goes_on_to_the_same_numbers(tmp_path):
    whole = fresh()
    train(whole, tmp_path / "whole.zip", resume=False)

    class Killed(BaseException):
        pass

    def dies(rng: np.random.Generator, count: int, frames: int) -> Sequences:
        dies.left -= 1
        if dies.left < 0:
            raise Killed
        return batches(rng, count, frames)

    dies.left = 25
    torch.manual_seed(RECIPE.seed)
    with pytest.raises(Killed):
        train(Trainer(RECIPE, Brightness(), dies), tmp_path / "killed.zip", resume=False, every_s=0.0)
    left = load_checkpoint(checkpoint_path(tmp_path / "killed.zip"))
    assert 10 < left["step"] < 40 and not left["finished"]
    torch.manual_seed(99)
    resumed = Trainer(RECIPE, Brightness(), batches)
    train(resumed, tmp_path / "killed.zip", resume=True)
    assert same(averaged(whole).state_dict(), averaged(resumed).state_dict())
    assert [row[2] for row in whole.history] == [row[2] for row in resumed.history]


def test_a_fresh_run_does_not_overwrite_an_unfinished_one(tmp_path):
    bundle = tmp_path / "small.zip"
    save_checkpoint(checkpoint_path(bundle), fresh().state() | {"finished": False})
    with pytest.raises(CheckpointUnfit, match="--resume goes on"):
        train(fresh(), bundle, resume=False)


def test_another_recipe_does_not_resume_and_the_difference_is_named(tmp_path):
    bundle = tmp_path / "small.zip"
    save_checkpoint(checkpoint_path(bundle), fresh().state() | {"finished": False})
    with pytest.raises(CheckpointUnfit, match="another learning_rate;"):
        train(fresh(Recipe(steps=40, sequence=3, batch=4, learning_rate=1e-3, ema=0.9, likelihood_from=0.1)), bundle, resume=True)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 nothing", b"\x80\x02K\x01."])
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, content):
    path = tmp_path / "small.checkpoint.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointUnfit, match=r"small\.checkpoint\.pt"):
        load_checkpoint(path)


def test_a_budget_of_time_ends_annealed_however_fast_the_machine(monkeypatch):
    recipe = Recipe(minutes=1.0, sequence=3, batch=2)
    trainer, clock = fresh(recipe), iter(np.arange(0, 1000, 7.0))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    rates: list[float] = []
    trainer.run(lambda t: rates.append(t._optimiser.param_groups[0]["lr"]))
    assert len(rates) == 9
    assert rates[-1] < 0.05 * recipe.learning_rate < rates[len(rates) // 3]


def test_the_learning_rate_warms_up_and_comes_down():
    recipe = Recipe(learning_rate=1.0, warm_up=0.1, floor=0.01)
    rates = [learning_rate(recipe, f) for f in (0.0, 0.05, 0.1, 0.55, 1.0, 2.0)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 0.505, 0.01, 0.01])


def test_a_loss_that_is_no_number_ends_the_run_by_name():
    def empty(rng: np.random.Generator, count: int, frames: int) -> Sequences:
        drawn = batches(rng, count, frames)
        return drawn._replace(motion=drawn.motion * float("nan"))

    with pytest.raises(TrainingFailed, match="step 0"):
        Trainer(RECIPE, Brightness(), empty).run()


def test_the_uncertainty_learns_the_size_of_the_errors_and_leaves_the_motion_alone():
    errors, log_variance = torch.full((1000, 6), 0.2), torch.zeros(6, requires_grad=True)
    optimiser = torch.optim.Adam([log_variance], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        gaussian_likelihood(errors, log_variance.expand(1000, 6)).backward()
        optimiser.step()
    assert torch.allclose(torch.exp(log_variance / 2), torch.full((6,), 0.2), rtol=0.02)
    motion = torch.zeros(1, 2, 6, requires_grad=True)
    only = Recipe(cosine=0.0, likelihood=1.0, likelihood_from=0.0)
    losses(only, motion, torch.zeros(1, 2, 6), torch.ones(1, 2, 6), 0.5).likelihood.requires_grad_().backward()
    assert motion.grad is None


def test_errors_that_add_up_cost_more_than_errors_that_cancel():
    true, said = torch.zeros(1, 24, 6), torch.full((1, 24, 6), 0.3)
    swinging = said * torch.tensor([1.0, -1.0]).repeat(12)[None, :, None]
    adds, cancels = (losses(Recipe(), one, torch.zeros_like(true), true, 0.0) for one in (said, swinging))
    assert float(adds.smooth_l1) == pytest.approx(float(cancels.smooth_l1))
    assert float(adds.sums) > 1 and float(cancels.sums) == pytest.approx(0, abs=1e-6)


def test_a_perfect_estimate_costs_nothing():
    true = torch.randn(2, 3, 6)
    found = losses(Recipe(sums=1.0, likelihood=0.0), true, torch.zeros_like(true), true, 1.0)
    assert float(found.total) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"minutes": float("nan")}, {"sequence": 1}, {"ema": 1.0}])
def test_an_impossible_recipe_is_refused(wrong):
    with pytest.raises(BadRecipe):
        Recipe(**wrong)


def test_the_presets_are_recipes_of_a_shipped_network():
    assert {"cpu", "gpu"} <= PRESETS.keys()
    assert all(recipe.network == ("moglo" if name == "moglo" else "small") and not recipe.steps for name, recipe in PRESETS.items())


def test_curves_are_a_picture_even_of_little_and_of_wild_numbers(tmp_path):
    for curves in ({}, {"total": [(0.1, 2.0)]}, {"total": [(0.1 * i, 1 / (1 + i)) for i in range(500)], "cosine": [(0, float("nan"))]}):
        draw_curves(tmp_path / "curves.png", curves, "small")
        with Image.open(tmp_path / "curves.png") as picture:
            assert picture.size == (900, 460)
            assert len(np.unique(np.asarray(picture))) > 1
    assert curves_path(Path("a/small.zip")).name == "small.losses.png"


TOGETHER = """
import sys, torch
sys.path[:0] = {paths!r}
from test_trainer import Brightness, batches
from export.training.recipes import Recipe
from export.training.trainer import Trainer, averaged
from export.training.workers import gathered
torch.set_num_threads(1)
with gathered("cpu") as workers:
    torch.manual_seed(workers.rank)
    trainer = Trainer(Recipe(steps=6, sequence=3, batch=2), Brightness(), batches, workers)
    trainer.run()
    torch.save(dict(trainer.module.state_dict()), f"{folder}/rank{{workers.rank}}-of-{{workers.count}}.pt")
"""


def test_two_processes_under_torchrun_train_one_network(tmp_path):
    here = Path(__file__)
    script = tmp_path / "together.py"
    script.write_text(TOGETHER.format(paths=[str(here.parents[3]), str(here.parent)], folder=tmp_path))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"rank{rank}-of-2.pt", weights_only=True) for rank in (0, 1))
    assert same({k: v for k, v in one.items() if "running" not in k}, {k: v for k, v in two.items() if "running" not in k})


def test_weights_of_one_network_have_a_mean_and_those_of_others_have_none():
    one = {"a": torch.tensor([1.0, 2.0]), "batches": torch.tensor(7)}
    two = {"a": torch.tensor([4.0, 2.0]), "batches": torch.tensor(9)}
    mean = mean_weights([one, two, two])
    assert torch.equal(mean["a"], torch.tensor([3.0, 2.0])) and mean["batches"] == 7
    assert all(torch.equal(value, one[name]) for name, value in mean_weights([one]).items())
    with pytest.raises(CheckpointUnfit, match="different shapes"):
        mean_weights([one, {"a": torch.zeros(3), "batches": torch.tensor(1)}])
