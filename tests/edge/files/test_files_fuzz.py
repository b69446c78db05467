"""The short fuzz of foreign files, in a process of its own, so that a library that crashes ends only that. The long one: `make fuzz`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["mp4", "avi", "dcm", "h5", "ipasc.h5", "csv", "zip"])
def test_every_mutant_is_refused_by_name_or_read(kind):
    words = [sys.executable, str(Path(__file__).with_name("fuzz_foreign.py")), "--count", "60", "--seed", "5", "--kinds", kind]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)[kind]["outcomes"]
    assert outcomes["read"] and sum(outcomes.values()) == 60 and len(outcomes) > 1
