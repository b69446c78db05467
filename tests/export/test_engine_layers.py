"""The layer report, from what the inspectors of TensorRT 10 and 11 write."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")


from export.engine.layers import report_layers


def layer(kind: str, before: dict[str, str], weights: str = "Int8", count: int = 9 * 16 * 32) -> dict[str, object]:
    sizes = {"Dimensions": [1, 32, 10, 20]}
    convolution = {"ParameterType": "Convolution", "Weights": {"Type": weights, "Count": count}} if "Conv" in kind else {}
    return {"Name": kind, "LayerType": kind, "Inputs": [sizes | before], "Outputs": [sizes | before], **convolution}


@pytest.mark.parametrize(
    ("schema", "int8", "half", "ports"),
    [
        (
            "10.x",
            {"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"},
            {"Format/Datatype": "Two wide channel vectorized row major FP16 format"},
            {"Bindings": ["frame", "motion"]},
        ),
        (
            "11.x",
            {"Format": "Thirty-two wide channel vectorized row major", "DataType": "Int8"},
            {"Format": "Row major linear", "DataType": "Half"},
            {"I/O Tensors": [{"Name": "frame", "IOMode": "Input", "DataType": "Float"}]},
        ),
    ],
)
def test_layers_are_counted_in_both_schemas(schema, int8, half, ports):
    layers = [
        layer("CaskConvolution", int8),
        layer("CaskConvolution", int8, weights="Half"),
        layer("CaskConvolution", half, weights="Half", count=3 * 16 * 32),
        layer("Reformat", half),
        layer("Reformat", int8),
        layer("Myelin", half),
    ]
    report = report_layers(json.dumps({"Layers": layers, **ports}))
    one = 9 * 16 * 32 * 10 * 20
    assert (report.schema, report.layers, report.reformats) == (schema, 6, 2)
    assert (report.convolutions, report.convolutions_int8) == (3, 1)
    assert (report.work, report.work_int8) == (2 * one + one // 3, one)
    assert report.kinds == {"CaskConvolution": 3, "Myelin": 1, "Reformat": 2}


def test_a_report_of_names_only_or_of_nonsense_says_so():
    assert report_layers('{"Layers": ["conv1 + relu"], "Bindings": []}').kinds == {"not told": 1}
    assert report_layers("no JSON").schema == "not readable"
