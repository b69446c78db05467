"""``sonosweep export train``: sweeps in, a bundle that opens and steps like the network in training out."""

from __future__ import annotations

import functools
import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'sonosweep[train]')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install 'sonosweep[train]')")

import edge.motion.ort as ort  # noqa: E402
from edge.app import main  # noqa: E402
from edge.motion.bundle import open_bundle, shipped_bundles  # noqa: E402
from edge.motion.stepper import Stepper  # noqa: E402
from export.networks import NETWORKS  # noqa: E402
from export.training.checkpoint import checkpoint_path, load_checkpoint  # noqa: E402
from export.training.sweeps import TrainingSweep, Window, load_training_sweep, save_training_sweep  # noqa: E402
from export.training.trainer_measure import estimate  # noqa: E402

OPTIONS = [
    "--set",
    "steps=3",
    "--set",
    'options={"width": 0.25}',
    "--set",
    "ema=0",
    "--set",
    "warm_up=0",
    "--set",
    "learning_rate=0.02",
    "--set",
    "sequence=3",
    "--set",
    "batch=1",
    "--json",
    "--device",
    "cpu",
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Speckle that decorrelates a little from frame to frame; its labels are of no account."""
    rng, window = np.random.default_rng(0), Window()
    folder = tmp_path_factory.mktemp("sweeps")
    for number in range(26):
        field = rng.standard_normal((2, 4, window.height, window.width))
        mixed = field[0] * np.sqrt(1 - 0.3**2) + field[1] * 0.3
        windows = np.clip(110 + 40 * np.concatenate([field[0, :2], mixed[:2]]), 0, 255).astype(np.uint8)
        motion = rng.normal((0, 0, 0.5, 0, 0, 0), (0.2, 0.1, 0.2, 0.002, 0.002, 0.002), (3, 6)).astype(np.float32)
        save_training_sweep(folder / f"sweep_{number:02}.npz", TrainingSweep(windows, motion, window.spacing_mm, f"sweep_{number:02}"))
    return folder


@pytest.fixture(scope="module")
def trained(sweeps, tmp_path_factory):
    """Of a network and its width: the bundle, and what the command answered. Each is trained once."""

    @functools.cache
    def train(network, width):
        out, said = tmp_path_factory.mktemp(network) / "tiny.zip", io.StringIO()
        asked = ["--set", f"network={network}", "--set", f'options={{"width": {width}}}']
        with redirect_stdout(said):
            assert main(["export", "train", "--data", str(sweeps), "-o", str(out), *OPTIONS, *asked]) == 0
        return out, json.loads(said.getvalue())

    return train


@pytest.mark.parametrize(("network", "width"), [("small", 0.25), ("moglo", 0.0625)])
def test_training_writes_a_bundle_that_steps_like_the_network(trained, sweeps, network, width):
    out, answer = trained(network, width)
    assert answer["steps"] == 3 and answer["bytes"] < 12e6
    assert answer["measured"][0]["sweep"] == "24 simulated sweeps kept aside"
    bundle = open_bundle(out)
    card = bundle.card
    assert card.name == "tiny" and card.training["recipe"]["seed"] == 0 and "not for clinical use" in card.intended_use
    assert {m.name for m in card.metrics} >= {"lpe_mm", "final_drift_rate_percent", "correlation_tz"}
    module = NETWORKS[network](width=width)
    module.load_state_dict(load_checkpoint(checkpoint_path(out))["average"])
    sweep = load_training_sweep(sweeps / "sweep_00.npz")
    windows = sweep.windows
    expected, _ = estimate(module, sweep)
    stepper = Stepper(card, ort.Runner(bundle.graph("fp32")))
    stepper.start(windows[0].astype(np.float32))
    found = [stepper.step(window.astype(np.float32))["motion"][0] * card.motion.scale for window in windows[1:]]
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max() + 1e-4, "training rounds what it keeps to 8 bits"
    assert out.with_name("tiny.losses.png").stat().st_size > 1000


def test_a_fit_to_all_sweeps_states_its_uncertainty_as_the_fit_with_some_held_out_learned(trained, sweeps, tmp_path):
    held_out, fitted = trained("small", 0.25)[0], tmp_path / "fitted.zip"
    assert main(["export", "train", "--data", str(sweeps), "-o", str(fitted), *OPTIONS, "--intervals-of", str(held_out)]) == 0
    cards = [open_bundle(path).card for path in (held_out, fitted)]
    assert cards[1].training["interval_factors"] == cards[0].training["interval_factors"]
    assert cards[1].motion.error_memory == cards[0].motion.error_memory
    weights = [load_checkpoint(checkpoint_path(path))["average"]["head.bias"] for path in (held_out, fitted)]
    assert torch.allclose(*weights, atol=1e-3), "the same training, widened by the same factors"


def test_what_is_asked_for_in_vain_is_said(tmp_path, sweeps, capsys):
    for arguments, said in (
        (["--data", str(sweeps), "--set", "learningrate=1"], "names are"),
        (["--data", str(sweeps), "--set", "batch=many"], "batch"),
        (["--data", str(sweeps), "--set", "network=huge"], "there are"),
        (["--data", str(sweeps), "--resume"], "there is no checkpoint"),
        (["--adapt", str(sweeps / "sweep_00.npz")], "--from"),
        ([], "--data"),
        (["--data", str(sweeps), "--intervals-of", str(shipped_bundles()["moglo"])], "--hold-out"),
    ):
        assert main(["export", "train", "-o", str(tmp_path / "tiny.zip"), *arguments]) != 0
        assert said in capsys.readouterr().err
