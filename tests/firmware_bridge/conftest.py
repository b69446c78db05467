"""The bench, and a way for the tests of this folder to share their helpers (wire_frames, fuzz_wire, bridge_bench)."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bridge_bench import BridgeBench


@pytest.fixture
def bench() -> Iterator[BridgeBench]:
    """A bench that is closed after the test."""
    opened = BridgeBench()
    yield opened
    opened.close()
