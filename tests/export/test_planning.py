"""The planning sheet: what is counted is right, what is predicted follows from it, and the sheet in docs/ is of today's network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is not installed (pip install 'sonosweep[export]')")

from tiny_network import SIZE, step_graph

from edge.app import main
from export.planning import DEVICES, Work, predicted, watts, work_of

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "bench" / "results" / "amd-epyc-2-cores.json"


def test_operations_and_bytes_are_counted_node_by_node():
    model = step_graph()
    found = work_of(model.SerializeToString(), "fp16")
    views = sum(node.op_type == "Reshape" for node in model.graph.node)
    assert found.kernels == len(model.graph.node) - views and found.gflop == 0, "no product in it"
    assert found.moved_bytes > 2 * 4 * SIZE * SIZE, "the image is read and written by two nodes at least"
    assert found.state_bytes == 4 * (64 + 3 + 1 + 6 + 6)
    single = work_of(model.SerializeToString(), "fp32")
    assert single.moved_bytes == 2 * found.moved_bytes and single.weight_bytes == 2 * found.weight_bytes


def test_a_faster_device_a_smaller_network_and_a_graph_of_launches_take_less():
    slow, fast = DEVICES[0], DEVICES[-1]
    work = Work(gflop=2.0, weight_bytes=0, moved_bytes=10_000_000, state_bytes=0, kernels=100)
    alone, graphed = (predicted(slow, "fp16", work, launch) for launch in ("each kernel launched", "CUDA graph"))
    assert alone > graphed > predicted(fast, "fp16", work, "CUDA graph") > 0.2
    assert predicted(slow, "fp16", work._replace(gflop=4.0), "CUDA graph") > graphed
    assert slow.watts * 0.4 == watts(slow, 0) < watts(slow, 0.5) < watts(slow, 2) == slow.watts


def test_the_sheet_in_the_documentation_is_what_the_command_writes(tmp_path):
    assert main(["export", "planning", "small", "--records", str(RECORDS), "-o", str(tmp_path / "planning.md")]) == 0
    assert (tmp_path / "planning.md").read_text() == (ROOT / "docs" / "planning.md").read_text(), "make it again: see its first lines"


def test_a_file_without_compounding_is_refused(tmp_path, capsys):
    empty = tmp_path / "records.json"
    for content, said in (("[]", "sonosweep bench"), ("{", "is not what")):
        empty.write_text(content)
        assert main(["export", "planning", "small", "--records", str(empty)]) != 0
        assert said in capsys.readouterr().err
    assert main(["export", "planning", "small", "--records", str(RECORDS), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2 * len(DEVICES)
