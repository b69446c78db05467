"""An OpenIGTLink server as a front end: what pyigtl packs comes out of the bridge as frames where they lay."""

import contextlib
import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pyigtl
import pytest
from bridge_bench import BridgeBench

from edge.openigtlink.bodies import ImageBody, TrackedBody, pack_image, pack_tracked
from edge.openigtlink.envelope import HEAD_BYTES, Envelope, open_body, parse_head, seal
from edge.openigtlink.errors import BadBody, MalformedIgtl, NotHandled
from firmware_bridge.igtl_frames import IgtlFrames, NoSpacing, Wanted
from firmware_bridge.igtl_source import BadAddress, IgtlSource, parse_address

S = 1_000_000_000
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (24, 32), dtype=np.uint8)


def placed(z_mm=0.0):
    """ImageToReference (LPS): 0.2 x 0.1 mm pixels, turned by 90 degrees about z."""
    return np.array([[0.0, -0.1, 0.0, 10.0], [0.2, 0.0, 0.0, -20.0], [0.0, 0.0, 1.0, z_mm], [0, 0, 0, 1]])


def by_pyigtl(message, at_s, name, **metadata):
    message.device_name, message.timestamp, message.header_version, message.metadata = name, at_s, 2, metadata
    return message.pack()


def image_data(at_s, matrix=None, name="Image_Reference", seed=0, **metadata):
    ras = FLIP @ (placed() if matrix is None else matrix)
    return by_pyigtl(pyigtl.ImageMessage(pixels(seed)[np.newaxis], ras, "ras"), at_s, name, **metadata)


def read(data) -> Envelope:
    head = parse_head(data[:HEAD_BYTES])
    return open_body(head, data[HEAD_BYTES:])


def hear(frames: IgtlFrames, *datas):
    return [frame for data in datas for frame in frames.hear(read(data), 0)]


def test_an_image_in_reference_brings_its_spacing_and_its_pose():
    (frame,) = hear(IgtlFrames(Wanted()), image_data(5.25, placed(3.0)))
    np.testing.assert_allclose(frame.pose.matrix, placed(3.0), atol=1e-5)
    np.testing.assert_allclose(frame.geometry.spacing_mm, (0.2, 0.1), atol=1e-6)
    assert frame.timestamp_ns == pytest.approx(5.25 * S, abs=1000) and np.array_equal(frame.pixels, pixels())


def test_poses_of_their_own_are_found_by_time_and_interpolated():
    frames = IgtlFrames(Wanted())
    flat = np.diag([0.2, 0.1, 1.0, 1.0])

    def transform(at_s, z_mm):
        return by_pyigtl(pyigtl.TransformMessage(FLIP @ placed(z_mm)), at_s, "ImageToReference")

    def tdata(at_s, z_mm):
        return seal("TDATA", "Tracker", int(at_s * S), pack_tracked([TrackedBody("ImageToReference", FLIP @ placed(z_mm))]))

    made = hear(frames, transform(1.0, 0.0), image_data(1.0, flat, "Image_Image"))  # the same time
    made += hear(frames, image_data(1.05, flat, "Image_Image", 1), tdata(1.1, 4.0))  # between two
    made += hear(frames, image_data(1.12, flat, "Image_Image", 2), image_data(1.4, flat, "Image_Image", 3))  # near one; too far from any
    made += frames.rest()
    assert [frame.pose_status for frame in made] == ["ok", "ok", "ok", "missing"]
    for frame, z_mm in zip(made, (0.0, 2.0, 4.0), strict=False):
        np.testing.assert_allclose(frame.pose.matrix, placed(z_mm), atol=1e-4)
    assert [frame.sequence for frame in made] == [0, 1, 2, 3]


def test_what_the_sender_marks_as_no_pose_is_none():
    frames = IgtlFrames(Wanted())
    (frame,) = hear(frames, image_data(1.0, TransformStatus="OUT_OF_VIEW"))
    assert frame.pose_status == "missing"
    frame, *_ = hear(frames, image_data(2.0, PoseSource="network: small"))
    assert (frame.pose_status, frame.pose_source) == ("ok", "network: small")


def test_a_pose_that_would_mirror_or_stretch_the_image_is_left_out_and_counted():
    frames = IgtlFrames(Wanted(spacing_mm=(0.5, 0.5)))
    (frame,) = hear(frames, image_data(1.0))
    assert frame.pose_status == "missing" and any("do not fit" in why for why in frames.passed_over)


def test_a_size_of_1_mm_is_not_believed():
    data = image_data(1.0, np.eye(4), "Image_Image")
    with pytest.raises(NoSpacing, match="--spacing-mm"):
        hear(IgtlFrames(Wanted()), data)
    (frame,) = hear(IgtlFrames(Wanted(spacing_mm=(0.3, 0.3))), data)
    assert frame.geometry.spacing_mm == (0.3, 0.3)


def test_volumes_other_images_and_repeated_ones_are_passed_over():
    frames = IgtlFrames(Wanted())
    volume = by_pyigtl(pyigtl.ImageMessage(np.zeros((3, 4, 5), np.uint8), np.diag([0.5, 0.5, 0.5, 1])), 0.5, "Volume_Reference")
    made = hear(frames, volume, image_data(1.0), image_data(1.0), image_data(1.5, name="Other_Reference"), image_data(2.0))
    assert len(made) == 2 and sum(frames.passed_over.values()) == 3
    with pytest.raises(NotHandled, match=r"\(1, rows, columns\)"):  # what pyigtl makes of a plain array
        hear(IgtlFrames(Wanted(image="Image")), by_pyigtl(pyigtl.ImageMessage(pixels(), placed()), 1.0, "Image"))


def test_colours_become_grey_and_floats_are_refused():
    rgb = np.zeros((1, 4, 4, 3), np.uint8)
    rgb[..., 1] = 200
    (frame,) = hear(IgtlFrames(Wanted()), by_pyigtl(pyigtl.ImageMessage(rgb, placed()), 1.0, "Image_Reference"))
    assert frame.pixels.dtype == np.uint8 and set(frame.pixels.ravel().tolist()) == {200 * 150 >> 8}
    with pytest.raises(NotHandled, match="float32"):
        hear(IgtlFrames(Wanted()), by_pyigtl(pyigtl.ImageMessage(np.zeros((1, 4, 4), np.float32), placed()), 1.0, "Image_Reference"))


def test_addresses():
    assert parse_address("localhost") == ("localhost", 18944) and parse_address("[::1]:99") == ("::1", 99)
    for bad in ("", ":1", "host:0", "host:port", "host:70000"):
        with pytest.raises(BadAddress):
            parse_address(bad)


class Server:
    """Sends what it is given to whoever connects; a new script for each connection."""

    def __init__(self, *scripts) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(scripts,), daemon=True)
        self._thread.start()

    def _run(self, scripts) -> None:
        for script in scripts:
            plain, _ = self._listening.accept()
            with plain, contextlib.suppress(OSError):  # it hung up on us
                for piece in script:
                    if isinstance(piece, threading.Event):
                        piece.wait(30)
                    elif isinstance(piece, float):
                        time.sleep(piece)
                    else:
                        plain.sendall(piece)

    def close(self) -> None:
        self._thread.join(5)
        self._listening.close()


def test_a_server_that_hangs_up_or_falls_silent_ends_the_sweep_and_is_found_again():
    fell_silent = threading.Event()
    server = Server([image_data(1.0), image_data(1.1)], [image_data(2.0), image_data(2.1), fell_silent, image_data(4.0)])
    source = IgtlSource(("127.0.0.1", server.port), IgtlFrames(Wanted()), silent_s=1.5)
    sweeps = []
    for number in range(3):
        sweeps.append([round(10 * frame.timestamp_ns / S) for frame in source.sweep()])
        if number == 1:
            fell_silent.set()
    assert sweeps == [[10, 11], [20, 21], [40]] and source.connections == 2
    source.close()
    server.close()


def test_damaged_messages_cost_only_themselves_and_noise_the_connection(capsys):
    damaged = bytearray(image_data(1.05))
    damaged[-1] ^= 1
    huge = b"\0\1" + b"IMAGE".ljust(12, b"\0") + b"Big".ljust(20, b"\0") + bytes(8) + (65 << 20).to_bytes(8, "big") + bytes(8)
    script = [image_data(1.0), bytes(damaged), seal("VIDEO", "x", 0, [bytes(3 << 20)]), huge, *([bytes(1 << 20)] * 65), image_data(1.2)]
    heard = threading.Event()
    server = Server([*script, b"garbage" * 20, heard], [image_data(9.0)])
    source = IgtlSource(("127.0.0.1", server.port), IgtlFrames(Wanted()), silent_s=10.0)
    sweeps = [[round(10 * frame.timestamp_ns / S) for frame in source.sweep()]]
    heard.set()
    sweeps.append([round(10 * frame.timestamp_ns / S) for frame in source.sweep()])
    assert sweeps == [[10, 12], [90]]
    told = capsys.readouterr().err
    assert "BadCrc" in told and "TooLarge" in told and "BadHead" in told
    source.close()
    server.close()


def test_the_command_feeds_a_bridge_as_a_probe_does():
    def script():
        for number in itertools.count(1):
            yield image_data(1000 + number / 50, placed(number * 0.2), seed=number)
            yield 0.02

    server, bench = Server(script()), BridgeBench()
    try:
        bench.open_bridge()
        run = bench.consume("run")
        words = [sys.executable, "-m", "edge", "igtl", "receive", f"127.0.0.1:{server.port}", "--endpoint", bench.endpoint, "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            bench.step_until(lambda: len(run.frames) >= 25)
            process.send_signal(signal.SIGINT)
            bench.step_until(lambda: run.frames[-1].last)
            answer = json.loads(process.stdout.read())
        assert bench.counts["malformed"] == 0 and answer["frames"] == len(run.frames) == answer["with_poses"] and answer["sweeps"] == 1
        for frame in run.frames:
            number = frame.sequence + 1
            np.testing.assert_allclose(frame.pose.matrix, placed(number * 0.2), atol=1e-4)
            assert np.array_equal(frame.pixels, pixels(number)) and abs(frame.timestamp_ns - (1000 + number / 50) * S) < 1000
    finally:
        bench.close()
        server.close()


def test_a_body_that_lies_is_refused_by_name():
    body = b"".join(pack_image(ImageBody(pixels()[np.newaxis], placed())))
    for wrong in (body[:40], body[:-1], body + b"x"):
        with pytest.raises(BadBody):
            IgtlFrames(Wanted()).hear(read(seal("IMAGE", "a", 0, [wrong])), 1)
    assert issubclass(BadBody, MalformedIgtl)
