"""Random and mutated messages against the door: each is refused by name or accepted as a valid frame, and none costs memory.

python tests/firmware_bridge/fuzz_wire.py --count 100000 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bridge_bench import BridgeBench
from wire_frames import convex_frame, linear_frame, photoacoustic_frame, same

from edge.messages import Frame, decode, encode
from firmware_bridge.errors import MalformedPacket
from firmware_bridge.extensions import BLOCK
from firmware_bridge.wire import CODES, HEADER, decode_frame, encode_frame, sealed

Parts = list[bytes]
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-320, 1e-9, 1e308, -1e308, float("nan"), float("inf"), -float("inf"), 255.0, 89.0, 4096.0)
WATCHED = 5_000  # the last messages of a run, during which every allocation is watched
GROWTH_LIMIT = 256 << 10  # bytes


def flip_bits(parts: Parts, dice: random.Random) -> Parts:
    """One to eight bits of one part, the header preferred."""
    at = dice.choice([0, 0, 1, 2])
    data = bytearray(parts[at])
    for _ in range(dice.randint(1, 8) if data else 0):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return [*parts[:at], bytes(data), *parts[at + 1 :]]


def resize(parts: Parts, dice: random.Random) -> Parts:
    """One part cut, lengthened, emptied or doubled."""
    at = dice.randrange(3)
    data = parts[at]
    cut = dice.randrange(len(data) + 1)
    data = dice.choice([data[:cut], data + dice.randbytes(dice.randint(1, 64)), b"", data + data, data[cut:]])
    return [*parts[:at], data, *parts[at + 1 :]]


def rearrange(parts: Parts, dice: random.Random) -> Parts:
    """Parts lost, repeated, in another order."""
    return [dice.choice(parts) for _ in range(dice.choice([1, 2, 3, 3, 4, 9]))]


def set_field(parts: Parts, dice: random.Random) -> Parts:
    """One to three fields of the header at an extreme or random value."""
    header = np.frombuffer(parts[0], HEADER).copy()
    for _ in range(dice.randint(1, 3)):
        name = dice.choice(HEADER.names or ())
        field = header[0][name]
        flat = header[name].reshape(-1)
        at = dice.randrange(flat.size)
        if flat.dtype.kind == "f":
            flat[at] = dice.choice([*FLOATS, dice.uniform(-1000, 1000), float(flat[at]) * dice.choice([-1, 1.05, 1.2, 1e3])])
        else:
            top = int(np.iinfo(flat.dtype).max)
            flat[at] = dice.choice([0, 1, 2, 3, 4, top, top // 2, top // 2 + 1, dice.randint(0, top), (int(flat[at]) + 1) & top])
        header[name] = flat.reshape(np.shape(field))
    return [header.tobytes(), *parts[1:]]


def swap_fields(parts: Parts, dice: random.Random) -> Parts:
    """A run of header bytes copied over another."""
    data = bytearray(parts[0])
    length = dice.choice([1, 2, 4, 8, 16])
    a, b = (dice.randrange(0, HEADER.itemsize - length, min(length, 8)) for _ in range(2))
    data[a : a + length] = data[b : b + length]
    return [bytes(data), *parts[1:]]


def set_extensions(parts: Parts, dice: random.Random) -> Parts:
    """Blocks of known and unknown types with random sizes and contents, whole and broken."""
    blocks = [parts[1]] if dice.random() < 0.5 else []
    for _ in range(dice.choice([1, 1, 2, 5, 300])):
        size = dice.choice([0, 1, 7, 8, 16, 48, 96, 4096])
        data = dice.choice([bytes(size), dice.randbytes(size)])
        said = dice.choice([size, size, size, size + 1, 2**32 - 1, max(size - 8, 0)])
        padding = dice.choice([bytes(-size % 8)] * 4 + [b"", b"x" * (-size % 8)])
        block = BLOCK.pack(dice.choice([0, 1, 2, 3, 4, 5, 6, 0x8000, 0xFFFF]), dice.choice([0, 0, 0, 1]), said)
        blocks.append(block + data + padding)
    return [parts[0], b"".join(blocks), parts[2]]


def reshape(parts: Parts, dice: random.Random) -> Parts:
    """Another image size, type and orientation, with or without the samples for it."""
    header = np.frombuffer(parts[0], HEADER).copy()
    row = header[0]
    row["width"], row["height"] = (dice.choice([0, 1, 2, 3, 17, 200, 4096, 4097, 65535]) for _ in range(2))
    for name in ("sample_type", "orientation", "geometry", "modality", "pose_status"):
        row[name] = dice.choice(list(CODES[name].values()))
    size = int(row["width"]) * int(row["height"]) * int(row["sample_type"])
    return [header.tobytes(), parts[1], bytes(size) if size <= 1 << 17 else parts[2]]


def noise(parts: Parts, dice: random.Random) -> Parts:
    """Random bytes, some with a header's length and start."""
    start = dice.choice([b"", parts[0][:8], parts[0][:4]])
    size = dice.choice([0, 1, 8, 64, HEADER.itemsize, 1000])
    return [(start + dice.randbytes(size))[: max(size, len(start))], *(dice.randbytes(dice.choice([0, 8, 120])) for _ in range(2))]


MUTATIONS: tuple[Callable[[Parts, random.Random], Parts], ...] = (
    flip_bits,
    resize,
    rearrange,
    set_field,
    set_field,
    swap_fields,
    set_extensions,
    reshape,
    noise,
)


def corpus() -> list[Parts]:
    """Valid messages of every kind."""
    frames = (linear_frame(3), convex_frame(), photoacoustic_frame(), linear_frame(0, pose_status="invalid", last=True))
    return [[bytes(part) for part in encode_frame(frame, orientation)] for frame in frames for orientation in ("MF", "UN")]


def messages(count: int, seed: int) -> Iterator[Parts]:
    """``count`` messages; every second mutant whose header is whole is given a right checksum, half of these right sizes too."""
    dice, seeds = random.Random(seed), corpus()
    for number in range(count):
        parts = dice.choice(seeds)
        for _ in range(dice.choice([1, 1, 1, 2, 3])):
            if len(parts) == 3 and len(parts[0]) == HEADER.itemsize:
                parts = dice.choice(MUTATIONS)(parts, dice)
        if number % 2 and len(parts) == 3 and len(parts[0]) == HEADER.itemsize:
            header = np.frombuffer(parts[0], HEADER).copy()
            if number % 4 == 1:
                header["extension_size"], header["payload_size"] = len(parts[1]), len(parts[2])
            parts = [bytes(part) for part in sealed([header.tobytes(), *parts[1:]])]
        yield parts


def check(parts: Parts) -> str:
    """How the door took the message: the name of the refusal, or ``accepted``. Anything else is an error."""
    try:
        frame = decode_frame(parts)
    except MalformedPacket as wrong:
        if type(wrong) is MalformedPacket or not str(wrong):
            raise AssertionError("a refusal without a name") from wrong
        return type(wrong).__name__
    frame.geometry.check()
    handed_on = decode(encode(frame))
    if not (isinstance(handed_on, Frame) and same(handed_on, frame) and same(decode_frame(encode_frame(frame)), frame)):
        raise AssertionError(f"an accepted frame does not survive being handed on, or sent again: {frame}")
    return "accepted"


def fuzz(count: int, seed: int) -> dict[str, Any]:
    """Check ``count`` messages; answers how they were taken, and how much memory the last ones left behind."""
    outcomes: Counter[str] = Counter()
    begun, resident = time.monotonic(), resident_bytes()
    watched = min(WATCHED, count // 2)
    before = 0
    for number, parts in enumerate(messages(count, seed)):
        if number == count - watched:
            tracemalloc.start()
            check(parts)
            before = tracemalloc.get_traced_memory()[0]
        try:
            outcomes[check(parts)] += 1
        except Exception:
            sys.stderr.write(f"message {number} of seed {seed}: {[part.hex() for part in parts]}\n")
            raise
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    if grown > GROWTH_LIMIT:
        raise AssertionError(f"the last {watched} messages left {grown} bytes behind")
    return {
        "messages": count,
        "seed": seed,
        "outcomes": dict(outcomes.most_common()),
        "seconds": round(time.monotonic() - begun, 1),
        "traced_growth_bytes": grown,
        "resident_growth_bytes": resident_bytes() - resident,
    }


def fuzz_bridge(count: int, seed: int) -> dict[str, int]:
    """Send ``count`` messages through sockets and the real bridge; answers its counts."""
    bench = BridgeBench()
    try:
        bench.open_bridge()
        run, front_end = bench.consume("run"), bench.front_end()
        for parts in messages(count, seed):
            bench.step_until(lambda parts=parts: bool(front_end.send_parts(parts, patience_s=0)))
        bench.step_until(lambda: bench.counts["received"] + bench.counts["malformed"] == count)
        bench.step_until(lambda: len(run.frames) == bench.counts["received"] - bench.counts["to_run_dropped"])
        return bench.counts
    finally:
        bench.close()


def resident_bytes() -> int:
    """What this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    answer = fuzz(options.count, options.seed)
    answer["bridge"] = fuzz_bridge(options.count // 50, options.seed)
    for key, value in answer.items():
        sys.stdout.write(f"{key}: {value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
