"""The name under which everything of a sweep is kept, ``sweep_<boot>_<number>``: every file of it begins so."""

from __future__ import annotations

import re

SWEEP = re.compile(r"sweep_[0-9a-f]{16}_\d{4,10}")  # a number of uint32: a front end's begin at 0, the operator's have nine digits


def sweep_id(boot_id: int, sweep: int) -> str:
    """What ``SWEEP`` matches."""
    return f"sweep_{boot_id:016x}_{sweep:04d}"
