"""Motion from a network: the state that streams, the rule for the first frame, bundles that are refused by name."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from tiny_network import CARD, SIZE, card_json, step_graph, windowed

import edge.motion.ort as ort
from edge.config import MotionConfig
from edge.messages import Frame, Geometry
from edge.motion import MotionFailed, MotionSource, MotionUnavailable, Step, open_motion
from edge.motion.bundle import UnknownBundle, open_bundle
from edge.motion.card import BundleCorrupt, parse_card
from edge.motion.golden import differences, read_golden, run_golden
from edge.motion.network import NetworkMotion, ProbeNormalisation, candidates, open_network, probe_path
from edge.motion.stepper import BundleMismatch, Stepper
from edge.transform import motion_parameters
from export.golden_frames import random_frames
from export.pack import pack

TINY = parse_card(card_json(), "card.json")
SWEEP = random_frames(TINY, 12, seed=3)
GEOMETRY = Geometry(width=SIZE, height=SIZE, spacing_mm=(0.5, 0.5))


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.zip"
    pack(TINY, {"fp32": step_graph().SerializeToString()}, random_frames(TINY, 6), path)
    return path


@pytest.fixture
def folder(packed, tmp_path) -> Path:
    """The same bundle as a folder that a test may spoil."""
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "tiny")
    return tmp_path / "tiny"


def renew(folder: Path, **changes: Any) -> None:
    """Change the card of a folder, its checksums kept right."""
    card = json.loads((folder / "card.json").read_text()) | changes
    card["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in card["files"]}
    (folder / "card.json").write_text(json.dumps(card))


def frame(number: int, geometry: Geometry = GEOMETRY, pixels: np.ndarray = SWEEP[0]) -> Frame:
    return Frame(boot_id=1, sweep=0, sequence=number, timestamp_ns=number, geometry=geometry, pixels=pixels)


def motions(source: MotionSource, images: np.ndarray) -> np.ndarray:
    source.start(frame(0), images[0])
    steps = [source.step(frame(i), image, 1) for i, image in enumerate(images[1:], 1)]
    return np.array([motion_parameters(step.center_to_previous) for step in steps if step.center_to_previous])


def test_streaming_with_state_equals_the_windowed_network_from_the_first_frame_on(packed):
    source = open_network(packed)
    assert np.abs(motions(source, SWEEP) - windowed(SWEEP.astype(np.float32))).max() < 1e-6
    assert (source.name, source.backend, source.relative) == ("network: tiny", "ort fp32", True)


def test_a_new_sweep_forgets_the_one_before(packed):
    source = open_network(packed)
    first = motions(source, SWEEP)
    motions(source, SWEEP[::-1])
    assert np.array_equal(motions(source, SWEEP), first)


def test_a_first_frame_has_a_pose_and_no_motion(packed):
    step = open_network(packed).start(frame(0), SWEEP[0])
    assert step.image_to_reference is not None
    assert np.array_equal(step.image_to_reference.matrix, np.diag([0.5, 0.5, 1, 1]))


def test_uncertainty_is_a_standard_deviation_in_the_units_of_the_motion(packed):
    source = open_network(packed)
    source.start(frame(0), SWEEP[0])
    step = source.step(frame(1), SWEEP[1], 1)
    smooth = windowed(SWEEP[:2].astype(np.float32))[0, 2] / 2
    assert step.uncertainty == pytest.approx(np.exp((-4 - smooth) / 2) * np.array(CARD["motion"]["scale"]))


def test_direction_minus_mirrors_what_the_network_says(packed):
    plus = motions(open_motion(MotionConfig(source="network", model=str(packed), direction="+")), SWEEP)
    minus = motions(open_motion(MotionConfig(source="network", model=str(packed), direction="-")), SWEEP)
    assert np.allclose(minus, plus * [1, 1, -1, -1, -1, 1])


def test_the_image_is_resampled_to_the_networks_own_pixels(packed):
    """Twice as fine a raster over the same tissue: the same motion."""
    fine = SWEEP.repeat(2, axis=1).repeat(2, axis=2)
    geometry = Geometry(width=2 * SIZE, height=2 * SIZE, spacing_mm=(0.25, 0.25))
    source = open_network(packed)
    source.start(frame(0, geometry), fine[0])
    step = source.step(frame(1, geometry), fine[1], 1)
    assert step.center_to_previous is not None
    assert motion_parameters(step.center_to_previous) == pytest.approx(windowed(SWEEP[:2].astype(np.float32))[0], abs=1e-6)


def test_a_network_that_gives_no_number_ends_the_sweep_by_name(packed):
    bundle = open_bundle(packed)
    stepper = Stepper(bundle.card, ort.Runner(bundle.graph("fp32")), {"scale": (float("nan"),)})
    source = NetworkMotion("tiny", "ort", bundle.card, stepper)
    source.start(frame(0), SWEEP[0])
    with pytest.raises(MotionFailed, match="no finite motion for frame 1"):
        source.step(frame(1), SWEEP[1], 1)


def test_a_probes_own_normalisation_beside_the_bundle_is_used_and_said(packed, folder):
    bundle = open_bundle(folder)
    plain = motions(open_network(folder), SWEEP)
    values = {"scale": [0.02], "shift": [0.1]}
    probe = {"bundle": bundle.identity, "probe": "L14", "values": values}
    probe_path(folder).write_text(json.dumps({"kind": "probe-normalisation", "format": 1, **probe}))
    source = open_network(folder)
    assert source.name == "network: tiny for L14"
    assert np.allclose(motions(source, SWEEP), plain, atol=1e-5), "a correlation does not mind scale and shift"


def test_the_probes_values_may_lie_elsewhere_and_a_file_that_is_not_there_is_refused(folder, tmp_path):
    beside = probe_path(folder)
    elsewhere = tmp_path / "elsewhere.json"
    with pytest.raises(BundleCorrupt, match=r"elsewhere\.json: there is no such file"):
        open_network(folder, probe_file=elsewhere)
    bundle = open_bundle(folder)
    probe = ProbeNormalisation(bundle=bundle.identity, probe="L14", values={"scale": (0.02,), "shift": (0.0,)})
    elsewhere.write_bytes(msgspec.json.encode(probe))
    assert not beside.exists() and open_network(folder, probe_file=elsewhere).name == "network: tiny for L14"


def test_normalisation_reaches_the_graph_by_channel(packed):
    bundle, image = open_bundle(packed), SWEEP[0].astype(np.float32)
    own, probes = (Stepper(bundle.card, ort.Runner(bundle.graph("fp32")), values) for values in ({}, {"scale": (0.02,)}))
    assert np.allclose(probes.step(image)["new_previous"], own.step(image)["new_previous"] * 0.02 * 255, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bundle": "another"}, "another bundle"),
        ({"values": {"scale": [1.0, 2.0]}}, "scale does not fit"),
        ({"values": {"gain": [1.0]}}, "gain does not fit"),
    ],
)
def test_a_probes_normalisation_that_does_not_fit_is_refused(folder, changes, said):
    probe = {"bundle": open_bundle(folder).identity, "probe": "L14", "values": {"scale": [1.0]}, **changes}
    probe_path(folder).write_text(json.dumps(probe))
    with pytest.raises(BundleMismatch, match=said):
        open_network(folder)


@pytest.mark.parametrize("name", ["L14-5 ", "", "two\nlines"])
def test_a_probe_s_name_that_no_volume_can_say_is_refused(folder, name):
    probe = {"bundle": open_bundle(folder).identity, "probe": name, "values": {"scale": [1.0]}}
    probe_path(folder).write_text(json.dumps(probe))
    with pytest.raises(BundleCorrupt, match="one line of text without blanks"):
        open_network(folder)


def test_a_damaged_normalisation_file_is_refused_by_its_name(folder):
    probe_path(folder).write_text("{")
    with pytest.raises(BundleCorrupt, match=r"tiny\.probe\.json"):
        open_network(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "tiny "}, "one line of text without blanks"),
        ({"colour": 1}, "unknown field `colour`"),
        ({"kind": "segmentation"}, "segmentation"),
        ({"graphs": {"fp32": {"file": "../step.onnx"}}}, "not a plain file name"),
        ({"golden": "/etc/passwd"}, "not a plain file name"),
        ({"start_runs": 0}, "start_runs"),
        ({"state": [{"input": "previous", "output": "p", "shape": [2**30]}]}, "MiB"),
        ({"normalisation": [{"input": "scale", "shape": [2], "values": [1.0]}]}, "1 values"),
        ({"motion": {"output": "motion", "uncertainty": "log_variance"}}, "go together"),
        ({"state": [{"input": "frame", "output": "p", "shape": [2]}]}, "used twice"),
        ({"graphs": {}}, "names no variant"),
        ({"image": {"input": "frame", "width": 3, "height": 3, "spacing_mm": [1, 1]}}, "out of range"),
        ({"summary": None}, "summary"),
    ],
)
def test_a_wrong_card_is_refused_with_the_file_named(folder, changes, said):
    card = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(BundleCorrupt, match=said) as wrong:
        open_bundle(folder)
    assert "card.json" in str(wrong.value)


@pytest.mark.parametrize("name", ["step.onnx", "golden.npz"])
def test_one_changed_byte_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleCorrupt, match=name):
        open_network(folder)


@pytest.mark.parametrize("name", ["step.onnx", "golden.npz", "card.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleCorrupt, match=name):
        open_network(folder)


def test_a_bundle_cut_anywhere_is_refused(packed, tmp_path):
    content = packed.read_bytes()
    for length in range(0, len(content), max(len(content) // 40, 1)):
        (tmp_path / "cut.zip").write_bytes(content[:length])
        with pytest.raises(BundleCorrupt):
            open_bundle(tmp_path / "cut.zip")


def test_a_bundle_with_flipped_bytes_is_refused_or_the_same(packed, tmp_path):
    content, rng = packed.read_bytes(), np.random.default_rng(0)
    identity = open_bundle(packed).identity
    for _ in range(150):
        spoiled = bytearray(content)
        spoiled[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        (tmp_path / "flipped.zip").write_bytes(spoiled)
        try:
            assert open_bundle(tmp_path / "flipped.zip").identity == identity, "a byte of the zip's own bookkeeping"
        except BundleCorrupt:
            continue


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a\\..\\evil"])
def test_an_entry_that_would_leave_the_bundle_is_refused(packed, tmp_path, name):
    spoiled = tmp_path / "evil.zip"
    spoiled.write_bytes(packed.read_bytes())
    with zipfile.ZipFile(spoiled, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(BundleCorrupt, match="would leave the bundle"):
        open_bundle(spoiled)


def test_a_pickle_in_the_golden_sequence_is_not_loaded(folder):
    np.savez(folder / "golden.npz", frames=np.array([{"a": 1}], dtype=object))
    renew(folder)
    with pytest.raises(BundleCorrupt, match="golden"):
        open_network(folder)


def test_a_graph_that_computes_something_else_is_caught_by_the_golden_sequence(folder):
    (folder / "step.onnx").write_bytes(step_graph(gain=1.01).SerializeToString())
    renew(folder)
    with pytest.raises(BundleMismatch, match=r"golden output .* differs by"):
        open_network(folder)


def test_a_start_without_the_self_pairs_is_caught_by_the_golden_sequence(folder):
    renew(folder, start_runs=1)
    with pytest.raises(BundleMismatch, match=r"golden output .* differs by"):
        open_network(folder)


def test_a_graph_with_other_shapes_than_the_card_is_refused(folder):
    renew(folder, state=[{**state, "shape": [1, 4]} if state["input"] == "ring" else state for state in CARD["state"]])
    with pytest.raises(BundleMismatch, match=r"ring is float32 \[1, 4\] in the card and float32 \[1, 3\]"):
        open_network(folder)


def test_something_that_is_no_graph_is_refused_by_the_backend(folder):
    (folder / "step.onnx").write_bytes(b"no graph")
    renew(folder)
    with pytest.raises(ort.GraphRefused, match="refuses the graph"):
        open_network(folder)


def test_the_golden_check_sees_what_is_not_finite(packed):
    bundle = open_bundle(packed)
    golden = read_golden(bundle.files["golden.npz"], bundle.card)
    stepper = Stepper(bundle.card, ort.Runner(bundle.graph("fp32")), {"scale": (float("inf"),)})
    assert max(differences(golden, run_golden(bundle.card, stepper, golden.frames)).values()) == float("inf")


def test_a_named_backend_says_what_it_lacks_and_auto_takes_the_next(monkeypatch):
    import edge.motion.network as network

    lacking = network.MOTION_BACKENDS["trt"]._replace(missing=lambda: "no driver")
    monkeypatch.setattr(network, "MOTION_BACKENDS", {"trt": lacking, "ort": network.MOTION_BACKENDS["ort"]})
    assert candidates(TINY) == [("ort", "fp32")]
    with pytest.raises(MotionUnavailable, match="trt: no driver"):
        candidates(TINY, "trt")


def test_a_bundle_that_is_not_there_is_refused_by_name():
    with pytest.raises(UnknownBundle, match=r"'/nowhere/small\.zip' is neither a file nor"):
        open_motion(MotionConfig(source="network", model="/nowhere/small.zip"))
    with pytest.raises(BundleCorrupt, match="name a bundle"):
        open_bundle(Path("/nowhere/small.zip"))


def test_a_step_is_one_of_three_things():
    assert Step().image_to_reference is None and Step().center_to_previous is None and Step().uncertainty == ()
