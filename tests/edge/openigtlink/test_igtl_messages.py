"""Our OpenIGTLink against the protocol's own numbers and against pyigtl, which shares no line with it."""

import struct

import numpy as np
import pyigtl
import pytest

from edge.openigtlink.bodies import (
    CommandBody,
    ImageBody,
    StatusBody,
    TrackedBody,
    pack_command,
    pack_image,
    pack_status,
    pack_text,
    pack_tracked,
    pack_transform,
    parse_command,
    parse_image,
    parse_status,
    parse_text,
    parse_tracked,
    parse_transform,
)
from edge.openigtlink.envelope import HEAD_BYTES, crc64, open_body, parse_head, seal
from edge.openigtlink.errors import BadBody, BadCrc, BadHead, CannotSay, NotHandled, TooLarge

AT_NS = 1_700_000_000_123_456_789
TURNED = np.array([[0.0, -0.1, 0.0, 10.0], [0.2, 0.0, 0.0, -20.0], [0.0, 0.0, 1.0, 5.0], [0, 0, 0, 1]])  # Image to Reference (LPS)


def read(data, largest=1 << 24):
    head = parse_head(data[:HEAD_BYTES], largest)
    return open_body(head, data[HEAD_BYTES:])


def by_pyigtl(data):
    """The message as pyigtl understands it."""
    fields = pyigtl.messages.MessageBase.parse_header(data[:HEAD_BYTES])
    message = pyigtl.messages.MessageBase.create_message(fields["message_type"])
    message.unpack(fields, data[HEAD_BYTES:])
    return message


def letter_f():
    """[1, j, i]: an image that is no mirror image of itself, 6 columns and 5 rows."""
    rows = ["######", "#.....", "####..", "#.....", "#....."]
    return np.array([[[255 * (cell == "#") + 1 * (cell != "#") for cell in row] for row in rows]], np.uint8)


def test_the_checksum_is_ecma_182():
    assert crc64(b"123456789") == 0x6C40DF5F0B497347
    noise = np.random.default_rng(3).integers(0, 256, 40_001, dtype=np.uint8).tobytes()
    for size in (*range(200), 40_001):
        data, slow = noise[:size], 0
        for byte in data:
            slow ^= byte << 56
            for _ in range(8):
                slow = (slow << 1 ^ 0x42F0E1EBA9EA3693 if slow >> 63 else slow << 1) & (1 << 64) - 1
        assert crc64(data) == slow
        assert crc64(data[size // 3 :], crc64(data[: size // 3])) == slow


@pytest.mark.parametrize("version", [1, 2])
def test_pyigtl_reads_our_image_where_it_lies_and_the_right_way_round(version):
    f, told = letter_f(), {"FrameNumber": "7", "Übung": "é"} if version == 2 else {}
    data = seal("IMAGE", "Image_Reference", AT_NS, pack_image(ImageBody(f, TURNED)), version, told)
    message = by_pyigtl(data)
    np.testing.assert_array_equal(message.image, f)
    assert (message.device_name, message.metadata, message.world_coordinate_system) == ("Image_Reference", told, "ras")
    assert message.timestamp == pytest.approx(AT_NS / 1e9, abs=1e-6)
    for i, j in [(0, 0), (5, 0), (0, 4)]:  # the corner, the end of the F's bar, the foot of its stem: in RAS by hand
        lps = TURNED @ [i, j, 0, 1]
        ras = message.ijk_to_world_matrix @ [i, j, 0, 1]
        np.testing.assert_allclose(ras[:3], [-lps[0], -lps[1], lps[2]], atol=1e-4)
    assert np.linalg.det(message.ijk_to_world_matrix[:3, :3]) > 0, "mirrored"


@pytest.mark.parametrize("space", ["ras", "lps"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_we_read_pyigtls_image_where_it_lies(space, dtype):
    voxels = np.arange(60).reshape(3, 4, 5).astype(dtype)
    sent = pyigtl.ImageMessage(voxels, TURNED, space, AT_NS / 1e9, "Image")
    sent.header_version = 2
    image = parse_image(read(sent.pack()).content)
    np.testing.assert_array_equal(image.voxels, voxels)
    flip = np.diag([-1, -1, 1, 1]) if space == "ras" else np.eye(4)
    np.testing.assert_allclose(image.image_to_lps, flip @ TURNED, atol=1e-5)


def test_a_big_endian_image_is_read():
    head = struct.pack(">HBBBB3H12f6H", 1, 1, 5, 1, 2, 2, 1, 1, *[1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0, 0], 0, 0, 0, 2, 1, 1)
    image = parse_image(memoryview(head + b"\x01\x02\x03\x04"))
    assert image.voxels.tolist() == [[[0x0102, 0x0304]]] and np.array_equal(image.image_to_lps, np.eye(4))


def test_a_transform_and_a_text_are_the_same_to_pyigtl():
    rigid = np.eye(4)
    rigid[:3] = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]]
    ours = by_pyigtl(seal("TRANSFORM", "ImageToReference", AT_NS, pack_transform(rigid)))
    np.testing.assert_array_equal(ours.matrix, rigid)
    theirs = pyigtl.TransformMessage(rigid, device_name="ImageToReference")
    np.testing.assert_array_equal(parse_transform(read(theirs.pack()).content), rigid)
    assert by_pyigtl(seal("STRING", "Status", AT_NS, pack_text("Größe"))).string == "Größe"
    assert parse_text(read(pyigtl.StringMessage("start", device_name="CMD_1").pack()).content) == "start"


def test_a_time_survives_to_the_nanosecond_and_a_head_is_as_the_protocol_lays_it_out():
    for at_ns in (0, 1, 999_999_999, AT_NS, 2**32 * 10**9 - 1):
        assert parse_head(seal("STATUS", "a", at_ns, [b"x"])[:HEAD_BYTES]).timestamp_ns == at_ns
    data = seal("STATUS", "device", 5 * 10**9 + 500_000_000, [b"body"])
    assert data[:HEAD_BYTES] == struct.pack(">H12s20sIIQQ", 1, b"STATUS", b"device", 5, 2**31, 4, crc64(b"body"))


def test_tracking_states_and_commands_reread():
    tools = [TrackedBody("ImageToReference", np.eye(4)), TrackedBody("StylusToReference", np.diag([2.0, 3, 4, 1]))]
    again = parse_tracked(memoryview(b"".join(pack_tracked(tools))))
    assert [tool.name for tool in again] == [tool.name for tool in tools] and np.array_equal(again[1].ras, tools[1].ras)
    status = StatusBody(13, "NOT_READY", "é")
    assert parse_status(memoryview(b"".join(pack_status(status)))) == status
    command = CommandBody(9, "StartRecording", '<Command Name="StartRecording"/>')
    content = b"".join(pack_command(command))
    assert parse_command(memoryview(content)) == command and len(content) == 138 + len(command.content)


def test_what_is_no_message_is_refused_by_name():
    good = seal("IMAGE", "Image", AT_NS, pack_image(ImageBody(letter_f(), TURNED)), 2, {"a": "b"})
    with pytest.raises(BadHead, match="header version"):
        read(b"HTTP/1.1 200 OK" + good)
    with pytest.raises(TooLarge, match="larger than the 100"):
        read(good, 100)
    with pytest.raises(BadCrc, match="checksum"):
        read(good[:-1] + bytes([good[-1] ^ 1]))
    for content, wrong, words in [
        (b"", BadBody, "at least"),
        (b"".join(pack_image(ImageBody(letter_f(), TURNED)))[:-1], BadBody, "does not have"),
        (b"".join(pack_image(ImageBody(letter_f(), np.full((4, 4), np.nan)))), BadBody, "finite"),
        (struct.pack(">HBBBB3H12f6H", 1, 1, 3, 2, 1, 2, 2, 1, *[1.0] * 12, 1, 0, 0, 1, 2, 1) + b"12", NotHandled, "whole images"),
    ]:
        with pytest.raises(wrong, match=words):
            parse_image(memoryview(content))


def test_what_cannot_be_said_is_refused_before_it_is_sent():
    with pytest.raises(CannotSay, match="20"):
        seal("IMAGE", "a" * 21, 0, [])
    with pytest.raises(CannotSay, match="3 axes"):
        pack_image(ImageBody(np.zeros((4, 4), np.uint8), TURNED))
    with pytest.raises(CannotSay, match="65535"):
        pack_image(ImageBody(np.zeros((1, 1, 65536), np.uint8), TURNED))
