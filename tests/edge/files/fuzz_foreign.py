"""Mutated files of every foreign format against its reader: a named error or a sweep, within a second, in bounded memory.

python tests/edge/files/fuzz_foreign.py --count 500 --seed 1       # of each format
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from foreign_files import clip, photoacoustic, screens, tracked, write_video

from edge.errors import SonosweepError
from edge.files import open_sweep
from edge.files.archive import check_archive, write_archive
from edge.files.hints import Crop
from edge.files.ipasc import write_ipasc
from edge.files.tus_rec import read_calibration, write_tus_rec

KINDS = ("mp4", "avi", "dcm", "h5", "ipasc.h5", "csv", "zip")
SLOWEST_S = 1.0
ADDRESS_SPACE = 6 << 30  # what asks for more fails, and must say so by name
GROWTH_LIMIT_MIB = 300
EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 64) - 1]


def seeds(folder: Path) -> dict[str, Path]:
    """One small valid file of each format."""
    small = [image[30:110, 70:170] for image in screens(6)]
    write_video(folder / "a.mp4", small, "mpeg4")
    write_video(folder / "a.avi", small, "ffv1", pixel_format="gray")
    clip(folder / "a.dcm", list(screens(2)))
    images, poses = tracked()
    table = write_tus_rec(folder / "a.h5", images, poses, (0.2, 0.1), np.eye(4))
    table.rename(folder / "a.csv")
    write_ipasc(folder / "a.ipasc.h5", photoacoustic())
    (folder / "one.txt").write_text("one" * 100)
    write_archive(folder / "a.zip", [folder / "one.txt"], {})
    return {kind: folder / f"a.{kind}" for kind in KINDS}


def mutated(data: bytes, dice: random.Random) -> bytes:
    """One to three mutations; heads are hit more often than what they describe."""
    out = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 3])):
        reach = len(out) if dice.random() < 0.4 else min(len(out), 1200)
        kind = dice.randrange(5)
        if not out:
            break
        if kind == 0:
            for _ in range(dice.randint(1, 10)):
                out[dice.randrange(reach)] ^= 1 << dice.randrange(8)
        elif kind == 1:
            out = out[: dice.randrange(len(out))]
        elif kind == 2:
            size = dice.choice([1, 2, 4, 8])
            at = dice.randrange(reach)
            value = dice.choice(EXTREMES) & (1 << 8 * size) - 1
            out[at : at + size] = value.to_bytes(size, dice.choice(["big", "little"]))
        elif kind == 3:
            size, a, b = dice.choice([4, 16, 64]), dice.randrange(reach), dice.randrange(len(out))
            out[a : a + size] = out[b : b + size]
        else:
            at = dice.randrange(reach)
            out[at:at] = dice.randbytes(dice.choice([1, 4, 100]))
    return bytes(out)


def read(kind: str, path: Path, table: Path) -> str:
    """``read``, or the name of the refusal. Anything else is an error."""
    try:
        if kind == "zip":
            check_archive(path)
        elif kind == "csv":
            read_calibration(path)
        else:
            crop = Crop() if kind == "mp4" else None
            sweep = open_sweep(path, spacing_mm=(0.2, 0.1), crop=crop, calibration=table if kind == "h5" else None)
            for frame in islice(sweep.frames(), 200):
                frame.check()
    except SonosweepError as wrong:
        if not str(wrong):
            raise AssertionError("a refusal without a word") from wrong
        return type(wrong).__name__
    return "read"


def fuzz(count: int, seed: int, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    """``count`` mutants of each format."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valid = seeds(folder)
        for kind in kinds:
            dice, outcomes, slowest = random.Random(f"{seed} {kind}"), Counter[str](), 0.0
            whole, path = valid[kind].read_bytes(), folder / f"mutant.{kind}"
            if read(kind, valid[kind], valid["csv"]) != "read":
                raise AssertionError(f"the valid {kind} is refused")
            before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            for number in range(count):
                path.write_bytes(mutated(whole, dice))
                begun = time.process_time()
                try:
                    outcomes[read(kind, path, valid["csv"])] += 1
                except Exception:
                    kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}.{kind}"
                    kept.write_bytes(path.read_bytes())
                    sys.stderr.write(f"mutant {number} of seed {seed}: {kept}\n")
                    raise
                slowest = max(slowest, time.process_time() - begun)
            grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10) - before_mib
            told[kind] = {"outcomes": dict(outcomes.most_common()), "slowest_ms": round(1000 * slowest), "grown_mib": grown_mib}
            if slowest > SLOWEST_S or grown_mib > GROWTH_LIMIT_MIB:
                raise AssertionError(f"{kind}: slowest {slowest:.2f} s, {grown_mib} MiB more")
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    chosen = parser.parse_args()
    sys.stdout.write(json.dumps(fuzz(chosen.count, chosen.seed, tuple(chosen.kinds)), indent=1) + "\n")
