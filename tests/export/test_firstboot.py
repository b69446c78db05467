"""The service of the first boot: it builds nothing where there is nothing to build, and says why."""

import argparse

import pytest

from edge.config import MotionConfig
from export.commands import firstboot


@pytest.mark.parametrize(
    ("motion", "reason"),
    [
        (MotionConfig(), ""),
        (MotionConfig(backend="trt", variant="fp16"), ""),
        (MotionConfig(source="recorded"), "motion.source is recorded"),
        (MotionConfig(backend="ort"), "motion.backend is ort"),
        (MotionConfig(variant="fp32"), "motion.variant fp32"),
    ],
)
def test_only_a_network_that_tensorrt_may_run_needs_an_engine(motion, reason):
    assert firstboot.needless(motion).startswith(reason) and bool(firstboot.needless(motion)) == bool(reason)


def test_where_tensorrt_is_not_it_says_so_and_ends_well(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(firstboot.trt, "missing", lambda: "no driver")
    (tmp_path / "edge.toml").write_text("")
    assert firstboot.run(argparse.Namespace(config=tmp_path / "edge.toml", run_dir=None)) == 0
    assert "no engine to build: no driver" in capsys.readouterr().err
