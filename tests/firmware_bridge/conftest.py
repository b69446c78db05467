"""Lets the tests of this folder share their helpers (wire_frames, fuzz_wire, bridge_bench)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
