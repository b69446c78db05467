"""The motion networks: streaming equals sequences, costs are what they are said to be, step graphs run where devices run them."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'sonosweep[train]')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install 'sonosweep[train]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from torch.nn import functional  # noqa: E402

import edge.motion.ort as ort  # noqa: E402
from edge.app import main  # noqa: E402
from edge.motion.card import Card, Graph  # noqa: E402
from edge.motion.golden import INTERVALS  # noqa: E402
from edge.motion.network import open_network  # noqa: E402
from edge.motion.normalisation import card_values, refitted, seen_statistics  # noqa: E402
from edge.motion.stepper import Stepper  # noqa: E402
from export.graph import check_graph  # noqa: E402
from export.networks import NETWORKS, MoGLo, Small  # noqa: E402
from export.networks.evidence import CHANNELS, GRIDS, MEASURES, Evidence, mirrored, surfaces  # noqa: E402
from export.networks.flops import count_flops, count_parameters  # noqa: E402
from export.networks.layers import MIRROR  # noqa: E402
from export.networks.moglo_losses import correlation_loss, moglo_loss, motion_weighted_error, triplet_loss  # noqa: E402
from export.networks.moglo_parts import PatchCorrelation  # noqa: E402
from export.networks.small import EIGHT_BIT, averages  # noqa: E402
from export.networks.step_graph import export_step  # noqa: E402
from export.pack import pack  # noqa: E402

TINY = {"small": {"width": 0.25}, "moglo": {"width": 0.0625}}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def speckle_frames(count: int, seed: int = 0) -> torch.Tensor:
    """[1, count, 1, 192, 192]: smoothed noise that drifts and decorrelates, grey 0 to 255."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count + 1, 1, 1, 200, 220, generator=generator).cumsum(0)[1:]
    smooth = functional.avg_pool2d(noise[:, 0], 3, 1)
    moved = torch.stack([image[:, :192, 2 * i : 2 * i + 192] for i, image in enumerate(smooth)])
    return (127 + 60 * moved / moved.std()).clamp(0, 255).round()[None]


def settled(name: str) -> torch.nn.Module:
    """A network whose statistics are those of speckle, so that its numbers are of the size that a trained one's have."""
    torch.manual_seed(0)
    module = NETWORKS[name](**TINY[name])
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.5
    with torch.no_grad():
        whole(module.train(), speckle_frames(5))
        head = [p for n, p in module.named_parameters() if n.startswith(("head", "fc")) and p.ndim > 1]
        for weights in head:
            weights.mul_(10)
        for weights in module.parameters():  # what begins at nothing would hide that its state is wrong
            if weights.ndim > 1 and not weights.any():
                weights.normal_(std=0.1)
    return module.eval()


def whole(module, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Motion and log variance of frames [1, t, 1, h, w] as one sequence, from what the network sees without rounding."""
    windows = frames[0, :, 0]
    seen = module.evidence(windows) if hasattr(module, "evidence") else module.see(windows)
    return module(seen[None], torch.tensor(INTERVALS * 3)[: len(windows) - 1][None])


def stepped(module, frames: torch.Tensor) -> torch.Tensor:
    """Motions [1, t - 1, 6] in mm and rad, frame by frame, started as a card says."""
    empty = state = module.initial_state()
    answers = []
    with torch.no_grad():
        for _ in range(module.start_runs):
            state = module.step(frames[:, 0], torch.ones(1, 1), state)[2] | {name: empty[name] for name in module.reset}
        for frame, interval in zip(frames[0, 1:], INTERVALS * 3, strict=False):
            motion, _, state = module.step(frame[None], torch.full((1, 1), interval), state)
            answers.append(motion * module.output_scale)
    return torch.stack(answers, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_streaming_equals_the_sequence_from_the_first_frame_on(name):
    module, frames = settled(name), speckle_frames(7)
    with torch.no_grad():
        motion, log_variance = whole(module, frames)
    assert log_variance.shape == motion.shape == (1, 6, 6)
    assert motion.std() > 1e-3
    assert (stepped(module, frames) - motion).abs().max() < 1e-5


def test_what_is_known_of_the_scanner_is_a_mean_that_slowly_follows():
    told = torch.randn(2, 450, 3, generator=torch.Generator().manual_seed(1))
    found, mean = averages(told), torch.zeros(2, 3)
    assert torch.allclose(found[:, 99], told[:, :100].mean(1), atol=1e-5)
    assert torch.allclose(averages(told[:, :150]), found[:, :150], atol=1e-5)
    for i in range(450):
        mean = mean + (told[:, i] - mean) / min(i + 1, 200)
    assert torch.allclose(found[:, -1], mean, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_motion_depends_on_no_later_frame(name):
    module, frames = settled(name), speckle_frames(6)
    other = frames.clone()
    other[:, 4:] = 255 - other[:, 4:]
    with torch.no_grad():
        one, two = whole(module, frames)[0], whole(module, other)[0]
    assert torch.allclose(one[:, :3], two[:, :3], atol=1e-6)
    assert (one[:, 3:] - two[:, 3:]).abs().max() > 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_the_step_graph_says_what_torch_says_and_packs_into_a_bundle_that_is_proved(name, tmp_path):
    module, frames = settled(name), speckle_frames(7)
    fields = export_step(module, tmp_path / "fp32.onnx")
    content, facts = check_graph(tmp_path / "fp32.onnx")
    assert (facts.opset, facts.ir) == (19, 9)
    assert str(tmp_path).encode() not in content and b"export/networks" not in content, "no folder of this machine"
    graphs = {"fp32": Graph(file="fp32.onnx")}
    card = Card(kind="motion", name=name, version="0", summary="s", trained_on="nothing", licence="Apache-2.0", graphs=graphs, **fields)
    assert card.motion.about == "window-centre"
    packed = pack(card, {"fp32": content}, frames[0, :, 0].numpy().astype(np.uint8), tmp_path / "bundle.zip")
    assert packed.controls["forgotten state"] > 0
    assert open_network(tmp_path / "bundle.zip", threads=1).name == f"network: {name}"
    runner = ort.Runner(content, 1)
    stepper, images = Stepper(card, runner), frames[0, :, 0].numpy()
    stepper.start(images[0])
    following = zip(images[1:], INTERVALS * 3, strict=False)
    said = np.stack([stepper.step(image, interval)["motion"][0] * np.array(card.motion.scale) for image, interval in following])
    with torch.no_grad():
        assert np.abs(said - whole(module, frames)[0][0].numpy()).max() < 1e-4
    check_refitting(card, runner, images)


def check_refitting(card: Card, runner: ort.Runner, images: np.ndarray) -> None:
    """Images of another gain and contrast: fitted values give every layer back what it had, and they need no torch."""
    usual = seen_statistics(card, runner, [images], card_values(card))
    reference = [layer.__class__(**{**_fields(layer), **_moments(usual[layer.statistics])}) for layer in card.layers]
    trained = Card(**{**_fields(card), "layers": tuple(reference)})
    assert all(np.allclose(v, card_values(card)[k], atol=1e-4) for k, v in refitted(trained, usual).items()), "nothing changed"
    other = (0.6 * images + 40).astype(np.float32)
    values = card_values(card)
    for _ in card.layers:
        values = refitted(trained, seen_statistics(trained, runner, [other], values))
    expected, as_it_was, fitted = said(card, runner, images, {}), said(card, runner, other, {}), said(card, runner, other, values)
    before, after = (np.abs(one - expected).max() / expected.std() for one in (as_it_was, fitted))
    if card.name == "small":  # sees neither gain nor contrast in the first place
        assert before < 0.1 and after < 0.02
    else:
        assert before > 0.05 and after < 0.3 * before


def said(card: Card, runner: ort.Runner, images: np.ndarray, values: dict) -> np.ndarray:
    """Scaled motions [n - 1, 6]."""
    stepper = Stepper(card, runner, values)
    stepper.start(images[0])
    return np.stack([stepper.step(image)["motion"][0] for image in images[1:]])


def _fields(struct) -> dict:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _moments(seen: np.ndarray) -> dict:
    return {"mean": tuple(seen[0].tolist()), "variance": tuple((seen[1] - seen[0] ** 2).tolist())}


def test_small_is_small():
    assert count_parameters(Small()) <= 1_500_000
    assert count_parameters(Small(1.5)) > 1.5 * count_parameters(Small())


def test_moglo_at_full_width_has_the_published_parameters_shapes_and_cost():
    """Six constants of uncertainty are ours; dead weights of the published code are left out."""
    module = MoGLo(1.0, 256).eval()
    assert count_parameters(module) - 6 == 26_702_032
    window = torch.zeros(1, 5, 1, 256, 256)
    with torch.no_grad():
        shapes = {}
        windowed = count_flops(module, lambda: shapes.update(out=module.heads(window)))
        streaming = count_flops(module, lambda: module.step(window[:, 0], torch.ones(1, 1), module.initial_state()))
    outputs, embedding, scores = shapes["out"]
    assert [tuple(head.shape) for head in outputs] == [(1, 4, 6), (1, 4, 6)]
    assert tuple(embedding.shape) == (1, 4, 1024, 4, 4)
    assert tuple(scores.shape) == (1, 4, 256)
    assert windowed / 1e9 == pytest.approx(154.1, abs=0.1)
    assert streaming / 1e9 == pytest.approx(33.0, abs=0.1)
    assert windowed / streaming >= 4.5


def test_moglo_streaming_equals_its_windowed_inference_from_the_first_frame_on():
    module, frames = settled("moglo"), speckle_frames(7)
    with torch.no_grad():
        windowed = module.windowed(frames)
    assert windowed.std() > 1e-3
    assert (stepped(module, frames) - windowed).abs().max() < 1e-5


def test_surfaces_are_the_means_of_products_with_each_shift_cell_by_cell():
    torch.manual_seed(0)
    now, before = torch.randn(2, 16, 24, dtype=torch.float64), torch.randn(2, 3, 16, 24, dtype=torch.float64)
    padded = functional.pad(before, (2, 2, 1, 1))
    for half, rows in ((False, range(3)), (True, range(1, 3))):
        shifts = [now[:, None] * padded[:, :, y : y + 16, x : x + 24] for y in rows for x in range(5)]
        expected = torch.stack(shifts, 2).reshape(2, -1, 8, 2, 8, 3).mean((3, 5))
        found = surfaces(now, before, (1, 2), half=half)
        assert torch.allclose(found, expected, atol=1e-12)


def test_evidence_sees_the_shift_and_neither_gain_nor_contrast():
    part = Evidence(192, 192)
    image = speckle_frames(1)[0, 0]
    frames = torch.cat([0.5 * torch.roll(image, (1, 4), (1, 2)) + 70, image])
    found = part(frames)[1]
    first = GRIDS[0][0] * GRIDS[0][1]
    surface = found[first : first + 55, 1:-1, 1:-1].mean((1, 2))
    assert int(surface.argmax()) == (1 + 2) * 11 + (4 + 5), "1 row down, 4 pixels to the right"
    assert 0.8 < float(surface.max()) < 1.3
    brighter = part(torch.stack([image[0], 0.6 * image[0] + 40]))
    assert (brighter[1, :-MEASURES] - brighter[0, :-MEASURES]).abs().max() < 0.02


def test_a_mirrored_sweep_gives_the_mirrored_evidence():
    part, frames = Evidence(192, 192), speckle_frames(5)[0, :, 0]
    assert torch.allclose(part(frames.flip(-1)), mirrored(part(frames)), atol=1e-5)


def test_what_training_keeps_of_a_sweep_is_its_evidence():
    module, windows = settled("small"), speckle_frames(6)[0, :, 0]
    with torch.no_grad():
        kept, exact = module.see(windows), module.evidence(windows)
        assert kept.dtype == torch.int8 and tuple(kept.shape) == (6, CHANNELS, 8, 8)
        assert (kept / EIGHT_BIT - exact).abs().max() <= 0.5 / EIGHT_BIT + 1e-6
        ones = torch.ones(1, 5)
        near, far = module(exact[None], ones)[0], module(exact[None], 2 * ones)[0]
        assert (module(kept[None], ones)[0] - near).abs().max() < 0.1 * near.std()
    assert (near - far).abs().max() > 1e-4, "the interval is looked at"


def test_patch_correlation_is_the_cosine_of_unfolded_patches():
    torch.manual_seed(0)
    before, now = torch.randn(1, 2, 48, 48), torch.randn(1, 2, 48, 48)
    found = PatchCorrelation(48, 16).correlate(before, now)
    at, dy, dx = (5, 9), 3, 11
    template = before[0, :, 14:17, 26:29]
    window = now[0, :, 14 + dy - 7 : 17 + dy - 7, 26 + dx - 7 : 29 + dx - 7]
    expected = functional.cosine_similarity(template.flatten(), window.flatten(), dim=0)
    assert found.shape == (1, 256, 15, 15)
    assert float(found[0, at[0] * 16 + at[1], dy, dx]) == pytest.approx(float(expected), abs=1e-5)


def test_the_published_losses_weigh_fast_motion_ignore_scale_and_order_embeddings():
    true = torch.tensor([[1.0, 0, 0, 0, 0, 0], [1.0, 0.1, 0, 0, 0, 0], [-1.0, 0, 0, 0, 0, 0]])
    slow, fast = torch.tensor([0.0]), torch.tensor([3.0])
    assert motion_weighted_error(fast + 1, fast, fast) == 2.5 * motion_weighted_error(slow + 1, slow, slow)
    assert float(correlation_loss(2 * true, true)) == pytest.approx(0, abs=1e-6)
    ordered, swapped = torch.tensor([[0.0], [0.1], [5.0]]), torch.tensor([[0.0], [5.0], [0.1]])
    assert float(triplet_loss(ordered, true)) == 0
    assert float(triplet_loss(swapped, true)) == pytest.approx(5.0, abs=1e-5)
    heads = [true[:, None].repeat(1, 4, 1)] * 2
    embedding = ordered[:, None].repeat(1, 4, 1)
    assert float(moglo_loss(heads, embedding, heads[0])) == pytest.approx(0, abs=1e-6)


def test_a_mirrored_sweep_moves_as_in_the_mirror():
    module, frames = settled("small"), speckle_frames(7)
    there, back = stepped(module, frames), stepped(module, frames.flip(-1))
    assert torch.abs(there[..., 0]).max() > 1e-3
    assert (back - there * torch.tensor(MIRROR)).abs().max() < 1e-5


def test_the_streaming_measurement_compares_the_same_answers(capsys):
    assert main(["export", "streaming", "--width", "0.0625", "--size", "192", "--runs", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["flop_ratio"] > 4 and said["largest_difference"] < 1e-5
    assert said["time_ratio"] == pytest.approx(said["window_ms"] / said["step_ms"])
