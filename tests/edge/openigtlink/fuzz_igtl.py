"""Random and mutated OpenIGTLink messages against both of our doors: each is refused by name or read, quickly, and none costs memory.

python tests/edge/openigtlink/fuzz_igtl.py --count 50000 --seed 1
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

import edge.openigtlink.bodies as bodies
from edge.openigtlink.envelope import HEAD_BYTES, crc64, open_body, parse_head, seal
from edge.openigtlink.errors import MalformedIgtl
from edge.openigtlink.requests import read_request
from firmware_bridge.igtl_frames import IgtlFrames, Wanted
from firmware_bridge.wire import encode_frame

PARSERS: dict[str, Any] = {
    "IMAGE": bodies.parse_image,
    "TRANSFORM": bodies.parse_transform,
    "TDATA": bodies.parse_tracked,
    "STATUS": bodies.parse_status,
    "STRING": bodies.parse_text,
    "COMMAND": bodies.parse_command,
}
EXTREMES = [0, 1, 2, 3, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1]
FLOATS = [0.0, -0.0, 1e-30, 1e30, float("nan"), float("inf"), -1.0, 0.2, 4096.0]
LARGEST = 1 << 20
SLOWEST_S = 1.0
GROWTH_LIMIT = 1 << 20


def corpus() -> list[bytes]:
    """Valid messages of every kind, in both versions."""
    turned = np.array([[0, -0.1, 0, 10], [0.2, 0, 0, -20], [0, 0, 1, 5], [0, 0, 0, 1.0]])
    image = np.arange(24 * 16, dtype=np.uint8).reshape(1, 16, 24)
    contents = {
        "IMAGE": bodies.pack_image(bodies.ImageBody(image, turned)),
        "TRANSFORM": bodies.pack_transform(turned),
        "TDATA": bodies.pack_tracked([bodies.TrackedBody("ImageToReference", turned)] * 2),
        "STATUS": bodies.pack_status(bodies.StatusBody(1, "", "well")),
        "STRING": bodies.pack_text("start"),
        "COMMAND": bodies.pack_command(bodies.CommandBody(3, "start", '<Command Name="StartRecording"/>')),
    }
    told = {"TransformStatus": "OK", "PoseSource": "recorded"}
    names = {"IMAGE": "Image_Reference", "TRANSFORM": "ImageToReference"}
    return [seal(kind, names.get(kind, "x"), 10**18, body, version, told) for kind, body in contents.items() for version in (1, 2)]


def mutated(data: bytes, dice: random.Random) -> bytes:
    """One mutation of head or body."""
    out = bytearray(data)
    kind = dice.randrange(6)
    if kind == 0:
        for _ in range(dice.randint(1, 8)):
            out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)
    elif kind == 1:
        out = out[: dice.randrange(len(out) + 1)] + dice.randbytes(dice.choice([0, 0, 1, 40]))
    elif kind == 2:
        size = dice.choice([1, 2, 4, 8])
        at = dice.randrange(max(len(out) - size, 1))
        out[at : at + size] = (dice.choice(EXTREMES) & (1 << 8 * size) - 1).to_bytes(size, "big")
    elif kind == 3 and len(out) > HEAD_BYTES + 60:
        at = HEAD_BYTES + dice.choice([0, 12]) + 4 * dice.randrange(12)
        out[at : at + 4] = struct.pack(">f", dice.choice(FLOATS))
    elif kind == 4:
        size, a, b = dice.choice([2, 4, 8, 20]), dice.randrange(len(out)), dice.randrange(len(out))
        out[a : a + size] = out[b : b + size]
    else:
        out = bytearray(dice.randbytes(dice.choice([0, 10, HEAD_BYTES, 200])))
    return bytes(out)


def messages(count: int, seed: int) -> Iterator[bytes]:
    """Every second mutant is given a right size and checksum, so that it comes further."""
    dice, seeds = random.Random(seed), corpus()
    for number in range(count):
        data = dice.choice(seeds)
        for _ in range(dice.choice([1, 1, 2, 3])):
            data = mutated(data, dice) or data
        if number % 2 and len(data) > HEAD_BYTES:
            body = data[HEAD_BYTES:]
            data = data[:42] + len(body).to_bytes(8, "big") + crc64(body).to_bytes(8, "big") + body
        yield data


def check(data: bytes) -> str:
    """``read``, or the name of the refusal. Anything else is an error."""
    try:
        head = parse_head(data[:HEAD_BYTES], LARGEST)
        envelope = open_body(head, data[HEAD_BYTES:])
        if envelope.kind in PARSERS:
            PARSERS[envelope.kind](envelope.content)
        if envelope.kind in ("COMMAND", "STRING"):
            read_request(envelope).answer(True, "done", 0).wire(1)
        frames = IgtlFrames(Wanted(spacing_mm=(0.2, 0.1)))
        for frame in [*frames.hear(envelope, 1), *frames.rest()]:
            encode_frame(frame)
    except MalformedIgtl as wrong:
        if type(wrong) is MalformedIgtl or not str(wrong):
            raise AssertionError("a refusal without a name") from wrong
        return type(wrong).__name__
    return "read"


def fuzz(count: int, seed: int) -> dict[str, Any]:
    """Check ``count`` messages."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    tracemalloc.start()
    check(corpus()[0])
    before = tracemalloc.get_traced_memory()[0]
    for number, data in enumerate(messages(count, seed)):
        begun = time.process_time()
        try:
            outcomes[check(data)] += 1
        except Exception:
            sys.stderr.write(f"message {number} of seed {seed}: {data.hex()}\n")
            raise
        slowest = max(slowest, time.process_time() - begun)
    grown, peak = (value - before for value in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    if slowest > SLOWEST_S or grown > GROWTH_LIMIT or peak > 4 * LARGEST:
        raise AssertionError(f"slowest {slowest:.2f} s, {grown} bytes left behind, {peak} at most")
    return {"messages": count, "outcomes": dict(outcomes.most_common()), "slowest_ms": round(1000 * slowest, 1), "peak_bytes": peak}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    sys.stdout.write(f"{fuzz(chosen.count, chosen.seed)}\n")
