"""Fitting a network to a probe: a graph of one layer whose statistics can be computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

import onnx

from calibration.domain import CannotFit, fit_domain, read_windows
from edge.app import main
from edge.files import write_sweep
from edge.messages import Frame, Geometry
from edge.motion.bundle import open_bundle
from edge.motion.card import parse_card
from edge.motion.network import open_network, probe_path
from edge.motion.stepper import BundleMismatch
from edge.transform import motion_parameters
from export.golden_frames import random_frames
from export.pack import pack

SIZE = 32
GEOMETRY = Geometry(width=SIZE, height=SIZE, spacing_mm=(0.5, 0.5))


def texture(seed: int, count: int = 60) -> np.ndarray:
    """Images [count, SIZE, SIZE] that change from one to the next, of mean 100 and deviation 20."""
    noise = np.random.default_rng(seed).normal(size=(count + 1, SIZE, SIZE))
    return 100 + 20 * (noise[1:] + noise[:-1]) / np.sqrt(2)


def one_layer(late: bool = False) -> onnx.ModelProto:
    """tz: mean absolute difference of two normalised images; ``late``: with a second layer, behind the comparison."""
    value = lambda name, shape: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)  # noqa: E731
    rows = [
        ("Mul", ["frame", "scale"], "scaled", {}),
        ("Add", ["scaled", "shift"], "now", {}),
        ("Sub", ["now", "before"], "change", {}),
        ("Abs", ["change"], "size", {}),
        ("ReduceMean", ["size", "axes"], "step4", {"keepdims": 1}),
        ("Reshape", ["step4", "flat"], "step", {}),
        ("Concat", ["zeros2", "late" if late else "step", "zeros3"], "motion", {"axis": 1}),
        ("ReduceMean", ["frame", "axes"], "mean4", {"keepdims": 1}),
        ("Mul", ["frame", "frame"], "squared", {}),
        ("ReduceMean", ["squared", "axes"], "square4", {"keepdims": 1}),
        ("Concat", ["mean4", "square4"], "both", {"axis": 1}),
        ("Reshape", ["both", "column"], "statistics", {}),
        ("Identity", ["now"], "after", {}),
    ]
    if late:
        rows[6:6] = [
            ("Mul", ["step", "late.scale"], "late_scaled", {}),
            ("Add", ["late_scaled", "late.shift"], "late", {}),
            ("Mul", ["step", "step"], "square_step", {}),
            ("Concat", ["step", "square_step"], "late.statistics", {"axis": 0}),
        ]
    constants = {
        "axes": np.array([2, 3]),
        "flat": np.array([1, 1]),
        "column": np.array([2, 1]),
        "zeros2": np.zeros((1, 2), np.float32),
        "zeros3": np.zeros((1, 3), np.float32),
    }
    image = [1, 1, SIZE, SIZE]
    inputs = [value("frame", image), value("scale", [1]), value("shift", [1]), value("before", image)]
    outputs = [value("motion", [1, 6]), value("statistics", [2, 1]), value("after", image)]
    if late:
        inputs += [value("late.scale", [1]), value("late.shift", [1])]
        outputs.append(value("late.statistics", [2, 1]))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, given, [to], **attributes) for op, given, to, attributes in rows],
        "one layer",
        inputs,
        outputs,
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)


CARD = {
    "kind": "motion",
    "name": "one layer",
    "version": "1",
    "summary": "for tests",
    "graphs": {"fp32": {"file": "step.onnx"}},
    "image": {"input": "frame", "width": SIZE, "height": SIZE, "spacing_mm": [0.5, 0.5]},
    "motion": {"output": "motion"},
    "normalisation": [{"input": "scale", "shape": [1], "values": [0.05]}, {"input": "shift", "shape": [1], "values": [-5.0]}],
    "layers": [{"scale": "scale", "shift": "shift", "statistics": "statistics", "mean": [100.0], "variance": [400.0]}],
    "state": [{"input": "before", "output": "after", "shape": [1, 1, SIZE, SIZE]}],
    "trained_on": "nothing",
    "licence": "Apache-2.0",
}


def packed(folder: Path, **changes) -> Path:
    card = parse_card(msgspec.json.encode(CARD | changes), "card.json")
    pack(card, {"fp32": one_layer().SerializeToString()}, random_frames(card, 6), folder / "one.zip")
    return folder / "one.zip"


def written(path: Path, images: np.ndarray) -> Path:
    """A sweep without any pose."""
    pixels = np.clip(np.rint(images), 0, 255).astype(np.uint8)
    frames = [Frame(boot_id=1, sweep=0, sequence=n, timestamp_ns=n * 10**7, geometry=GEOMETRY, pixels=one) for n, one in enumerate(pixels)]
    write_sweep(path, frames)
    return path


def mean_step(bundle: Path, images: np.ndarray) -> float:
    source, pixels = open_network(bundle, threads=1), np.clip(np.rint(images), 0, 255).astype(np.uint8)
    frame = Frame(boot_id=1, sweep=0, sequence=0, timestamp_ns=0, geometry=GEOMETRY, pixels=pixels[0])
    source.start(frame, pixels[0])
    return float(np.mean([motion_parameters(source.step(frame, image, 1).center_to_previous)[2] for image in pixels[1:]]))


def test_a_probe_of_other_gain_and_contrast_gets_the_motion_back(tmp_path, capsys):
    bundle, known, other = packed(tmp_path), texture(1), 0.6 * texture(2) + 70
    scan = written(tmp_path / "scan.igs.mha", other)
    expected, before = mean_step(bundle, known), mean_step(bundle, other)
    assert before == pytest.approx(0.6 * expected, rel=0.05)
    assert main(["calibrate", "domain", str(scan), "--model", str(bundle), "--probe", "L14", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["probe"], told["rounds"]) == (60, str(probe_path(bundle)), 2)
    assert told["golden_moved"] > 0 and told["changes"][-1] < 1e-3
    assert mean_step(bundle, other) == pytest.approx(expected, rel=0.03)
    assert open_network(bundle, threads=1).name == "network: one layer for L14"


def test_images_like_those_of_training_change_next_to_nothing(tmp_path):
    bundle = open_bundle(packed(tmp_path))
    fitted = fit_domain(bundle, read_windows(written(tmp_path / "scan.igs.mha", texture(3)), bundle.card), "same")
    assert fitted.probe.values["scale"][0] == pytest.approx(0.05, rel=0.02)
    assert fitted.probe.values["shift"][0] == pytest.approx(-5, rel=0.02)


def test_half_a_share_goes_half_the_way(tmp_path):
    bundle = open_bundle(packed(tmp_path))
    windows = read_windows(written(tmp_path / "scan.igs.mha", texture(3) + 20), bundle.card)
    shifts = [fit_domain(bundle, windows, "p", share=share).probe.values["shift"][0] for share in (0.0, 0.5, 1.0)]
    assert shifts[0] == pytest.approx(-5)
    assert shifts[1] == pytest.approx((shifts[0] + shifts[2]) / 2, abs=0.2)


def test_values_that_no_longer_give_their_golden_motion_are_refused(tmp_path):
    bundle = packed(tmp_path)
    opened = open_bundle(bundle)
    probe = fit_domain(opened, read_windows(written(tmp_path / "scan.igs.mha", texture(3) * 0.8), opened.card), "L14").probe
    probe_path(bundle).write_bytes(msgspec.json.encode(msgspec.structs.replace(probe, values=probe.values | {"scale": (0.08,)})))
    with pytest.raises(BundleMismatch, match="golden motion is not the one of its fit"):
        open_network(bundle, threads=1)


def test_layers_that_see_how_the_probe_was_moved_are_left_alone_unless_asked_for(tmp_path):
    late = [{"input": f"late.{kind}", "shape": [1], "values": [1.0]} for kind in ("scale", "shift")]
    second = {"scale": "late.scale", "shift": "late.shift", "statistics": "late.statistics", "mean": [1.0], "variance": [0.1]}
    changes = {"normalisation": [*CARD["normalisation"], *late], "layers": [*CARD["layers"], second]}
    card = parse_card(msgspec.json.encode(CARD | changes), "card.json")
    pack(card, {"fp32": one_layer(late=True).SerializeToString()}, random_frames(card, 6), tmp_path / "two.zip")
    bundle = open_bundle(tmp_path / "two.zip")
    windows = read_windows(written(tmp_path / "scan.igs.mha", texture(3) * 0.8), card)
    some, every = (fit_domain(bundle, windows, "p", all_layers=asked) for asked in (False, True))
    assert (some.layers, every.layers) == (("scale",), ("scale", "late"))
    assert some.probe.values["late.scale"] == (1.0,) != every.probe.values["late.scale"]


def test_lost_frames_split_a_scan_and_single_images_are_left_out(tmp_path):
    images = np.clip(np.rint(texture(1, 12)), 0, 255).astype(np.uint8)
    numbers = [0, 1, 2, 9, 20, 21, 23, 24, 25, 26, 27, 28]
    frames = [
        Frame(boot_id=1, sweep=0, sequence=n, timestamp_ns=n, geometry=GEOMETRY, pixels=image)
        for n, image in zip(numbers, images, strict=True)
    ]
    write_sweep(tmp_path / "scan.igs.mha", frames)
    card = parse_card(msgspec.json.encode(CARD), "card.json")
    assert [len(stretch) for stretch in read_windows(tmp_path / "scan.igs.mha", card)] == [3, 8]


def test_what_cannot_be_fitted_is_refused_and_nothing_written(tmp_path, capsys):
    scan, long = (written(tmp_path / f"{count}.igs.mha", texture(1, count)) for count in (10, 60))
    assert main(["calibrate", "domain", str(scan), "--model", str(packed(tmp_path))]) == 1
    assert "scan for a minute" in capsys.readouterr().err
    assert not probe_path(tmp_path / "one.zip").exists()
    without = open_bundle(tmp_path / "one.zip")
    with pytest.raises(CannotFit, match="one line of text without blanks"):
        fit_domain(without, read_windows(long, without.card), "L14-5 ")
    with pytest.raises(CannotFit, match="no layers to fit"):
        fit_domain(without_layers(without), read_windows(long, without.card), "p")


def without_layers(bundle):
    """The same bundle with a card that lists no layers."""
    return type(bundle)(bundle.path, msgspec.structs.replace(bundle.card, layers=()), bundle.identity, bundle.files)
