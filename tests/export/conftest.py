"""A tiny bundle for whoever builds engines of it; makes the helpers of this folder importable."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    from engine_bundle import packed_bundle  # needs onnx, which not every machine has

    return packed_bundle(tmp_path_factory.mktemp("bundle"))
