"""The link's bytes, and what a page may say."""

import random

import numpy as np
import pytest

from edge.tablet import wire
from edge.tablet.wire import Ack, MalformedCommand, MalformedLinkMessage, Request, read_text


def test_golden_bytes():
    assert wire.image(7, 300, 1, 2.5, (640, 480), (0.5, 0.25), b"JPG").hex() == (
        "49000100070000002c010000000000000000000000000440" + "8002e0010b000000" + "0000003f0000803e" + "4a5047"
    )
    voxels = np.zeros((1, 2, 512), np.uint8)
    voxels[0, :, 9] = 200, 1
    message = wire.bricks(1, 5, 1, 0.0, np.array([[-1, 2, 3]], np.int16), voxels.any(1), voxels)
    assert wire.decode(message) == ("V", 1, 1, 5, 0.0, 1, bytes.fromhex("ffff02000300" + "0002" + "00" * 62 + "c801"))
    cells = np.arange(128, dtype=np.uint8).reshape(1, 2, 64)
    message = wire.half_bricks(2, 5, 0, 0.0, np.array([[0, 0, 256]], np.int16), cells)
    assert wire.decode(message).payload == bytes.fromhex("000000000001") + bytes(range(128))


@pytest.mark.parametrize(
    "data", [b"", b"V" * 31, wire.HEADER.pack(86, 1, 0, 0, 0, 0, 0, 99) + b"noise", wire.HEADER.pack(90, 0, 0, 0, 0, 0, 0, 0)]
)
def test_foreign_bytes_are_refused(data):
    with pytest.raises(MalformedLinkMessage):
        wire.decode(data)


def test_what_a_page_says():
    assert read_text('{"ack": "V", "seq": 3}') == Ack("V", 3)
    asked = read_text('{"id": 1, "do": "start", "direction": "+", "exam": {"notes": "x"}}')
    assert asked == Request(1, "start", direction="+", exam={"notes": "x"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"ack": "Q", "seq": 1}',
        '{"ack": "V"}',
        '{"id": 1}',
        '{"id": "1", "do": "start"}',
        '{"id": 1, "do": "start", "speed": 3}',
        '{"id": 1, "do": "start", "direction": "x"}',
        '{"id": 1, "do": "export", "formats": ["exe"]}',
        "x" * (wire.LARGEST_TEXT + 1),
        "[" * 60_000,
    ],
)
def test_everything_else_is_refused_by_name(text):
    with pytest.raises(MalformedCommand):
        read_text(text)


def test_ten_thousand_mutilated_messages_never_escape_a_named_refusal():
    dice, refused = random.Random(4), 0
    good = [b'{"ack": "V", "seq": 3}', b'{"id": 1, "do": "start", "direction": "+", "exam": {"notes": "x"}, "measures": [{"a": [1, 2]}]}']
    for _ in range(10_000):
        text = bytearray(dice.choice(good))
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(text))
            text[at : at + dice.randrange(3)] = bytes(dice.randrange(256) for _ in range(dice.randrange(3)))
            if not text:
                break
        try:
            read_text(bytes(text))
        except MalformedCommand:
            refused += 1
    assert refused > 5000
