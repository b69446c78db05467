"""Engines in their cache: one that fits is found, and every other is refused with what changed and what mends it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import edge.caches as caches
from edge.motion.bundle import Bundle
from edge.motion.card import parse_card
from edge.motion.engine import (
    KEY_LENGTH,
    Dependencies,
    EngineCard,
    EngineCardCorrupt,
    EngineForeign,
    EngineMissing,
    EngineNotKept,
    EngineRefused,
    EngineStale,
    EngineTruncated,
    EngineWrong,
    LayerReport,
    Machine,
    find_engine,
    own_folder,
)
from edge.motion.source import MotionUnavailable

PLAN = bytes(range(256)) * 8
MACHINE = Machine(
    tensorrt="tensorrt",
    tensorrt_version="10.3.0.30",
    cuda_runtime="12.6.68",
    cuda_driver=12060,
    driver="540.4.0",
    gpu="Orin",
    compute_capability="8.7",
    sm_count=8,
    l4t="36.4.3",
)
CARD = parse_card(
    msgspec.json.encode(
        {
            "kind": "motion",
            "name": "tiny",
            "version": "1",
            "summary": "has variants",
            "graphs": {"fp16": {"file": "fp16.onnx"}, "int8-fp16": {"file": "int8-fp16.onnx"}},
            "image": {"input": "frame", "width": 8, "height": 8, "spacing_mm": [0.5, 0.5]},
            "motion": {"output": "motion"},
            "trained_on": "nothing",
            "licence": "Apache-2.0",
            "files": {"fp16.onnx": "a" * 64, "int8-fp16.onnx": "b" * 64},
        }
    ),
    "card.json",
)
BUNDLE = Bundle(Path("tiny.zip"), CARD, "c" * 64, {})
LAYERS = LayerReport(schema="10.x", layers=1, convolutions=0, convolutions_int8=0, work=0, work_int8=0, reformats=0, kinds={})


def keep(folder: Path, variant: str = "fp16", machine: Machine = MACHINE, plan: bytes = PLAN, **changes: Any) -> Path:
    """An engine as `sonosweep export engine` leaves it; the path of its card."""
    fields = {name: changes.pop(name) for name in list(changes) if name in Dependencies.__struct_fields__}
    depends = Dependencies(
        **{
            "bundle": BUNDLE.identity,
            "graph": CARD.files[f"{variant}.onnx"],
            "variant": variant,
            "machine": machine,
            "precision": "strongly typed",
            "builder_flags": (),
            "workspace_mib": 512,
            "optimisation_level": 3,
            **fields,
        }
    )
    card = EngineCard(
        **{
            "bundle_name": "tiny",
            "depends": depends,
            "plan_sha256": hashlib.sha256(plan).hexdigest(),
            "plan_bytes": len(plan),
            "built": "2026-11-20T21:00:00+00:00",
            "build_seconds": 1.0,
            "golden": {"motion": 0.001},
            "control": 1.0,
            "step_ms": {variant: 1.0},
            "layers": LAYERS,
            **changes,
        }
    )
    path = folder / f"{depends.key[:KEY_LENGTH]}.json"
    path.write_bytes(msgspec.json.encode(card))
    path.with_suffix(".plan").write_bytes(plan)
    return path


def refusal(folder: Path, variant: str = "fp16") -> EngineRefused:
    with pytest.raises(EngineRefused) as wrong:
        find_engine(BUNDLE, variant, MACHINE, [folder])
    assert isinstance(wrong.value, MotionUnavailable)
    assert "`sonosweep export engine tiny.zip`" in str(wrong.value), "every refusal names what mends it"
    return wrong.value


def test_an_engine_that_fits_is_found_and_its_plan_is_the_plan_alone(tmp_path):
    keep(tmp_path)
    found = find_engine(BUNDLE, "fp16", MACHINE, [tmp_path / "no such folder", tmp_path])
    assert (found.plan, found.card.depends.variant) == (PLAN, "fp16")


def test_how_it_was_built_is_the_builders_choice_and_the_newest_is_taken(tmp_path):
    keep(tmp_path, plan=b"old")
    keep(tmp_path, plan=b"new", workspace_mib=256, precision="weakly typed fp16", built="2026-11-21T00:00:00+00:00")
    keep(tmp_path, plan=b"older", optimisation_level=5, built="2026-11-19T00:00:00+00:00")
    assert find_engine(BUNDLE, "fp16", MACHINE, [tmp_path]).plan == b"new"


def test_the_key_is_made_of_every_dependency(tmp_path):
    base = keep(tmp_path)
    one = msgspec.json.decode(base.read_bytes(), type=EngineCard).depends
    expected = hashlib.sha256(json.dumps(msgspec.to_builtins(one), sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert base.stem == expected[:16]
    others = {"bundle": "d" * 64, "graph": "d" * 64, "variant": "x", "precision": "x", "builder_flags": ("FP16",)}
    others |= {"workspace_mib": 1, "optimisation_level": 1}
    keys = {one.key} | {msgspec.structs.replace(one, **{name: value}).key for name, value in others.items()}
    for name in Machine.__struct_fields__:
        value = getattr(MACHINE, name)
        machine = msgspec.structs.replace(MACHINE, **{name: value + 1 if isinstance(value, int) else value + "x"})
        keys.add(msgspec.structs.replace(one, machine=machine).key)
    assert len(keys) == 1 + len(others) + len(Machine.__struct_fields__)
    assert {*others, "machine", "schema"} == set(Dependencies.__struct_fields__)


def test_no_engine_at_all(tmp_path):
    said = refusal(tmp_path)
    assert type(said) is EngineMissing and "no engine was built on this machine" in str(said)
    keep(tmp_path, "int8-fp16")
    assert type(refusal(tmp_path)) is EngineMissing, "another variant's engine is no engine of this one"
    keep(tmp_path, bundle_name="another")
    assert find_engine(BUNDLE, "fp16", MACHINE, [tmp_path]), "the identity decides, whatever the bundle is called"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tensorrt_version": "10.13.3.9"}, "tensorrt version was 10.13.3.9, is 10.3.0.30"),
        ({"tensorrt": "tensorrt_rtx"}, "tensorrt was tensorrt_rtx, is tensorrt"),
        ({"cuda_runtime": "12.5.82"}, "cuda runtime was 12.5.82, is 12.6.68"),
        ({"cuda_driver": 12050}, "cuda driver was 12050, is 12060"),
        ({"driver": ""}, "driver was not known, is 540.4.0"),
        ({"l4t": "36.4.0"}, "l4t was 36.4.0, is 36.4.3"),
    ],
)
def test_a_stale_engine_is_refused_with_what_changed(tmp_path, changes, told):
    keep(tmp_path, machine=msgspec.structs.replace(MACHINE, **changes))
    said = refusal(tmp_path)
    assert type(said) is EngineStale and told in str(said)


@pytest.mark.parametrize("name", ["bundle", "graph"])
def test_an_engine_of_another_version_of_the_bundle_is_stale(tmp_path, name):
    keep(tmp_path, **{name: "d" * 64})
    said = refusal(tmp_path)
    assert type(said) is EngineStale and f"{name} was dddddddddddd, is " in str(said)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gpu": "H200"}, "gpu was H200, is Orin"),
        ({"compute_capability": "9.0"}, "compute capability was 9.0, is 8.7"),
        ({"sm_count": 4}, "sm count was 4, is 8"),
    ],
)
def test_a_foreign_engine_is_refused_with_what_differs(tmp_path, changes, told):
    keep(tmp_path, machine=msgspec.structs.replace(MACHINE, **changes))
    said = refusal(tmp_path)
    assert type(said) is EngineForeign and told in str(said)


def test_of_several_that_do_not_fit_the_nearest_is_told(tmp_path):
    keep(tmp_path, machine=msgspec.structs.replace(MACHINE, gpu="H200", compute_capability="9.0", sm_count=132))
    keep(tmp_path, machine=msgspec.structs.replace(MACHINE, driver="550.1"))
    said = refusal(tmp_path)
    assert type(said) is EngineStale and "driver was 550.1, is 540.4.0" in str(said) and "H200" not in str(said)


@pytest.mark.parametrize("length", [0, 1, len(PLAN) - 1, len(PLAN) + 1])
def test_a_truncated_engine_is_refused(tmp_path, length):
    keep(tmp_path).with_suffix(".plan").write_bytes((PLAN + b"x")[:length])
    said = refusal(tmp_path)
    assert type(said) is EngineTruncated and f"is {length} bytes long and was {len(PLAN)}" in str(said)


def test_an_engine_whose_plan_is_gone_is_refused(tmp_path):
    keep(tmp_path).with_suffix(".plan").unlink()
    said = refusal(tmp_path)
    assert type(said) is EngineTruncated and "No such file" in str(said)


def test_a_wrong_engine_is_refused(tmp_path):
    keep(tmp_path).with_suffix(".plan").write_bytes(PLAN[::-1])
    said = refusal(tmp_path)
    assert type(said) is EngineWrong and "is not the engine that was proved here" in str(said)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"format": 1}', b'{"format": 2}', b"[]"])
def test_a_corrupt_card_is_refused_by_its_name(tmp_path, text):
    path = keep(tmp_path)
    path.write_bytes(text)
    said = refusal(tmp_path)
    assert type(said) is EngineCardCorrupt and f"{path}: is no engine card" in str(said)


def test_a_card_with_a_key_of_another_kind_in_it_is_corrupt(tmp_path):
    path = keep(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": 1}))
    assert type(refusal(tmp_path)) is EngineCardCorrupt


def test_a_card_under_another_engines_name_is_corrupt(tmp_path):
    path = keep(tmp_path, machine=msgspec.structs.replace(MACHINE, sm_count=4))
    path.write_bytes(msgspec.json.encode(json.loads(path.read_text().replace('"sm_count":4', '"sm_count":8'))))
    said = refusal(tmp_path)
    assert type(said) is EngineCardCorrupt and "describes another engine than its name says" in str(said)


def test_a_corrupt_card_beside_it_keeps_no_engine_from_being_found(tmp_path):
    keep(tmp_path)
    (tmp_path / f"{'0' * 16}.json").write_text("{")
    assert find_engine(BUNDLE, "fp16", MACHINE, [tmp_path]).plan == PLAN


def test_a_variant_that_was_slower_is_refused_with_its_time(tmp_path):
    keep(tmp_path, step_ms={"fp16": 1.0, "int8-fp16": 1.5}, passed_over={"int8-fp16": "a step takes 1.5 ms, and 1 ms with fp16"})
    said = refusal(tmp_path, "int8-fp16")
    assert type(said) is EngineNotKept and "a step takes 1.5 ms" in str(said) and "--variant int8-fp16" in str(said)


def test_engines_are_kept_where_the_services_look_or_at_home(tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "CACHES", [tmp_path / "var", tmp_path / "home"])
    assert own_folder() == tmp_path / "home", "the services' folder is not ours to make"
    (tmp_path / "var").mkdir()
    assert own_folder() == tmp_path / "var"
    monkeypatch.setattr(caches, "CACHES", [tmp_path / "none", Path("~nobody-of-that-name/x")])
    assert own_folder() is None
