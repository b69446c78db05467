"""The server as a process, with pyigtl and with sockets that misbehave."""

import itertools
import threading
import time

import numpy as np
import pyigtl
import pytest
from igtl_bench import PATIENCE_S, Bench, Plain, frame, pose, served

from edge.messages import Bricks, Status, SweepEnded
from edge.openigtlink.bodies import (
    CommandBody,
    pack_command,
    pack_text,
    parse_command,
    parse_image,
    parse_status,
    parse_text,
    parse_tracked,
)
from edge.openigtlink.scene import Scene

TURNED = np.array([[0.0, -0.1, 0.0, 10.0], [0.2, 0.0, 0.0, -20.0], [0.0, 0.0, 1.0, 5.0], [0, 0, 0, 1]])
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def image(seed=0, rows=30, columns=40):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)


def bricks(coords, value, epoch=0, channel=0, name="ultrasound"):
    coords = np.array(coords, np.int32)
    voxels = np.full((len(coords), 8, 8, 8), value, np.uint8)
    voxels[:, 0, 0, 0] = np.arange(len(coords)) + 100  # the first voxel of each is its own
    common = {"boot_id": 7, "sweep": 1, "sequence": 0, "epoch": epoch, "spacing_mm": 0.5, "timestamp_ns": 0, "received_ns": 0}
    return Bricks(**common, channel=channel, channel_name=name, coords=coords, intensity=voxels, state=np.ones_like(voxels))


def keep_showing(bench: Bench, until: threading.Event, pixels=None) -> threading.Thread:
    def show():
        for number in itertools.count():
            if until.is_set():
                return
            bench.show(frame(number, image() if pixels is None else pixels))
            bench.say(pose(number, TURNED))
            if number % 10 == 0:
                bench.say(Status(service="run", state="sweeping", counts={"placed": number}))
            time.sleep(1 / 60)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def live():
    """A server with a sweep that runs, as long as the module's tests do."""
    with served() as bench:
        done = threading.Event()
        thread = keep_showing(bench, done)
        yield bench
        done.set()
        thread.join()


def test_two_clients_of_another_library_see_the_image_with_its_matrix(live):
    clients = [pyigtl.OpenIGTLinkClient("127.0.0.1", live.port) for _ in range(2)]
    try:
        for client in clients:
            shown = client.wait_for_message("Image_Reference", timeout=PATIENCE_S)
            np.testing.assert_array_equal(shown.image[0], image())
            np.testing.assert_allclose(shown.ijk_to_world_matrix, FLIP @ TURNED, atol=1e-4)
            assert abs(shown.timestamp - time.time()) < 5
            placed = client.wait_for_message("ImageToReference", timeout=PATIENCE_S)
            np.testing.assert_allclose(placed.matrix, FLIP @ TURNED, atol=1e-5)
    finally:
        for client in clients:
            client.stop()


def test_a_client_of_version_2_gets_metadata_and_one_of_version_1_none(live):
    old, new = Plain(live.port), Plain(live.port)
    new.send("GET_STATUS", version=2)
    new.until("STATUS")
    told = new.until("IMAGE")
    assert told.version == 2 and told.metadata["TransformStatus"] == "OK" and told.metadata["PoseSource"] == "recorded"
    assert old.until("IMAGE").version == 1
    old.close(), new.close()


def test_status_capability_and_tracking_data_come_when_they_are_asked_for(live):
    client = Plain(live.port)
    client.send("GET_STATUS")
    status = parse_status(client.until("STATUS").content)
    assert status.code in (1, 13)
    while not status.code == 1:
        status = parse_status(client.until("STATUS").content)
    assert "run sweeping" in status.text
    client.send("GET_CAPABIL")
    assert b"TRANSFORM" in bytes(client.until("CAPABILITY").content)
    client.send("STT_TDATA", content=[b"\0" * 36])
    (tool,) = parse_tracked(client.until("TDATA", "Tracker").content)
    np.testing.assert_allclose(tool.ras, FLIP @ TURNED, atol=1e-5)
    assert tool.name == "ImageToReference"
    client.send("GET_IMAGE", "Image_Reference")
    assert client.until("IMAGE", "Image_Reference")
    client.close()


def test_commands_are_answered_in_the_words_in_which_they_are_asked(live):
    client = Plain(live.port)
    for number, (name, content) in enumerate([("Fly", ""), ("", '<Command Name="GetVolumeReconstructionSnapshot" />'), ("start", "")]):
        client.send("COMMAND", "Remote", pack_command(CommandBody(number, name, content)), version=2)
        reply = client.until("RTS_COMMAND", "Remote")
        said = parse_command(reply.content)
        assert said.number == number and "<Result>false</Result>" in said.content and reply.metadata["Status"] == "FAIL", said
    assert "no gateway answers" in said.content  # no tablet gateway runs here, so nobody can start a sweep
    client.send("STRING", "CMD_12", pack_text("Fly"))
    assert parse_text(client.until("STRING", "ACK_12").content).startswith("ERROR: Fly is not known here")
    client.close()


def test_the_volume_comes_when_it_is_asked_for_and_at_the_end_of_a_sweep():
    with served() as bench:
        client = Plain(bench.port)
        deadline = time.monotonic() + PATIENCE_S
        done = False
        while not done and time.monotonic() < deadline:  # until the server has heard the bricks: a subscriber that connects misses some
            bench.say(bricks([(-1, 0, 0), (1, 2, 0)], 50))
            client.send("COMMAND", "r", pack_command(CommandBody(1, "snapshot", "")))
            done = "<Result>true" in parse_command(client.until("RTS_COMMAND").content).content
        bench.say(bricks([(1, 2, 0)], 60))
        bench.say(SweepEnded(service="run", boot_id=7, sweep=1, reason="last", frames=2, placed=2))
        deadline = time.monotonic() + PATIENCE_S
        voxels = None
        while voxels is None or (voxels[7, 23, 23] != 60 and time.monotonic() < deadline):
            body = parse_image(client.until("IMAGE", "Volume_Reference").content)
            voxels = body.voxels
        assert voxels.shape == (8, 24, 24) and voxels[0, 0, 0] == 100 and voxels[0, 16, 16] == 100 and voxels[7, 23, 23] == 60
        assert voxels[0, 0, 8] == 0
        np.testing.assert_allclose(body.image_to_lps, [[0.5, 0, 0, -4], [0, 0.5, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 1]])
        client.close()


def test_another_library_has_the_light_of_each_wavelength_beside_the_ultrasound():
    light = {"Volume_PA_750nm": (1, "photoacoustic-750nm", 70), "Volume_PA_850nm": (2, "photoacoustic-850nm", 80)}
    with served() as bench:
        plain, client = Plain(bench.port), pyigtl.OpenIGTLinkClient("127.0.0.1", bench.port)
        plain.send("GET_IMAGE", "Volume_PA_850nm")
        missing = plain.until("STATUS", "Volume_PA_850nm")
        assert parse_status(missing.content).code == 4 and "grows while a sweep runs" in parse_status(missing.content).text
        all_of_them = "Volume_Reference: 24 x 24 x 8 voxels, Volume_PA_750nm: 8 x 8 x 8 voxels, Volume_PA_850nm: 8 x 8 x 8 voxels"
        deadline, said = time.monotonic() + PATIENCE_S, ""
        while all_of_them not in said and time.monotonic() < deadline:  # a subscriber that connects misses some
            bench.say(bricks([(-1, 0, 0), (1, 2, 0)], 50))
            for channel, name, grey in light.values():
                bench.say(bricks([(0, 0, channel)], grey, channel=channel, name=name))
            plain.send("COMMAND", "r", pack_command(CommandBody(1, "snapshot", "")))
            said = parse_command(plain.until("RTS_COMMAND").content).content
        assert all_of_them in said
        try:
            for device, (channel, _, grey) in light.items():
                shown = client.wait_for_message(device, timeout=PATIENCE_S)
                assert shown.image.shape == (8, 8, 8) and shown.image[7, 7, 7] == grey
                at = FLIP @ [[0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0.5, 4 * channel], [0, 0, 0, 1]]
                np.testing.assert_allclose(shown.ijk_to_world_matrix, at, atol=1e-6)
            assert client.wait_for_message("Volume_Reference", timeout=PATIENCE_S).image.shape == (8, 24, 24)
        finally:
            client.stop()
        plain.send("GET_IMAGE", "Volume_PA_750nm", version=2)
        alone = plain.until("IMAGE", "Volume_PA_750nm")
        while alone.version == 1:  # that of the snapshot
            alone = plain.until("IMAGE", "Volume_PA_750nm")
        assert alone.metadata["Channel"] == "photoacoustic-750nm" and parse_image(alone.content).voxels[7, 7, 7] == 70
        plain.send("GET_IMAGE", "Volume_PA_900nm")
        missing = parse_status(plain.until("STATUS", "Volume_PA_900nm").content)
        assert (
            missing.code == 4 and missing.text == "there is no such volume; there are ultrasound, photoacoustic-750nm, photoacoustic-850nm"
        )
        bench.say(bricks([(0, 0, 0)], 40, epoch=1))  # built again, without light yet
        bench.say(SweepEnded(service="run", boot_id=7, sweep=1, reason="last", frames=2, placed=2))
        plain.until("IMAGE", "Volume_Reference")
        plain.send("GET_IMAGE", "Volume_PA_750nm")
        assert parse_status(plain.until("STATUS", "Volume_PA_750nm").content).code == 4
        plain.close()


def test_a_client_that_stops_reading_hurts_nobody():
    big = image(1, 480, 640)
    with served() as bench:
        done = threading.Event()
        stalled = [Plain(bench.port) for _ in range(3)]
        reader = Plain(bench.port)
        thread = keep_showing(bench, done, big)
        reader.until("IMAGE")
        before_mib = bench.memory_mib()
        for _ in range(200):  # 60 MB of images, of which the stalled ones' sockets hold a few MB
            reader.until("IMAGE")
        assert bench.memory_mib() - before_mib < 30
        done.set()
        thread.join()
        for client in (*stalled, reader):
            client.close()


def test_noise_at_the_door_ends_that_connection_and_no_other(live):
    good = Plain(live.port)
    for noise in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + bytes(100), b"\0\1" + b"IMAGE".ljust(12, b"\0") + bytes(28) + b"\xff" * 16):
        bad = Plain(live.port)
        bad.socket.sendall(noise)
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                bad.receive()
        bad.close()
    assert good.until("IMAGE")
    good.close()


def test_images_that_nothing_places_are_shown_as_they_come():
    scene = Scene()
    (shown,) = scene.feed(frame(0, image()), 10.0, 0)
    assert shown.device == "Image_Face"
    body = parse_image(memoryview(b"".join(shown.content)))
    np.testing.assert_allclose(body.image_to_lps @ [19.5, 0, 0, 1], [0, 0, 0, 1], atol=1e-6)  # the middle of the face
    assert not scene.feed(pose(1, TURNED), 10.1, 0)  # before its image
    assert [one.device for one in scene.feed(frame(1, image()), 10.1, 0)] == ["ImageToReference", "Image_Reference"]
    assert not scene.feed(frame(2, image()), 10.2, 0)  # waits for its pose
    assert not scene.feed(frame(3, image()), 10.2, 0)
    assert [one.device for one in scene.feed(pose(3, TURNED), 10.3, 0)] == ["ImageToReference", "Image_Reference"]
    assert [one.device for one in scene.feed(frame(4, image()), 11.4, 0)] == ["Image_Face"]  # no pose for a second


def test_frames_are_not_drawn_where_nobody_looks():
    scene = Scene()
    scene.wanted = False
    assert not scene.feed(frame(0, image()), 10.0, 0) and not scene.last
