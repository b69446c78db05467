"""A whole device and an OpenIGTLink client: it starts a sweep, follows it, ends it, and has the volume where the saved file has it."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

sys.path.insert(0, str(Path(__file__).parent / "edge" / "openigtlink"))

from igtl_bench import PATIENCE_S, Plain
from small_device import device_config, held_probe

from edge.local_device import LocalDevice
from edge.openigtlink.bodies import CommandBody, pack_command, parse_command, parse_image, parse_transform
from edge.services import SERVICES
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep
from firmware_bridge.igtl_frames import IgtlFrames, Wanted


def command(client, number, word):
    client.send("COMMAND", "Remote", pack_command(CommandBody(number, word, "")), version=2)
    return parse_command(client.until("RTS_COMMAND").content).content


@contextmanager
def process(words, **streams):
    """Gone with the block, whatever happens in it."""
    with subprocess.Popen(words, **streams) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture
def run_dir():
    name = tempfile.mkdtemp(prefix="sono-")
    yield name
    shutil.rmtree(name)


def test_a_client_starts_follows_and_ends_a_sweep_and_has_the_volume_where_the_file_has_it(tmp_path, run_dir):
    settings = SimulationSettings(frames=160, frames_per_s=20.0, image_size=(96, 80), spacing_mm=(0.4, 0.4), speckle=False)
    write_simulated_sweep(tmp_path / "sweep.igs.mha", simulate_sweep(settings))
    config = device_config(tmp_path, run_dir, motion="recorded")
    serve = [sys.executable, "-m", "edge", "igtl", "serve", "--run-dir", run_dir, "--port", "0"]
    log = tmp_path / "igtl.log"
    with LocalDevice(config, tuple(SERVICES)), log.open("wb") as out:
        with process(serve, stderr=out), held_probe(tmp_path / "sweep.igs.mha", config) as probe:
            deadline = time.monotonic() + PATIENCE_S
            while not (found := re.search(r":(\d+);", log.read_text())) and time.monotonic() < deadline:
                time.sleep(0.05)
            client = Plain(int(found[1]))
            client.until("IMAGE", "Image_Face")  # the probe lies still and is only looked at
            assert "<Result>true" in command(client, 1, "StartRecording")
            assert "<Result>false" in command(client, 2, "start")  # one runs
            client.until("IMAGE", "Image_Reference")
            probe.move()
            deadline = time.monotonic() + PATIENCE_S
            received, placed, transform = IgtlFrames(Wanted(image="Image_Reference")), [], None
            while len(placed) < 10 or transform is None:  # of a sweep of 8 s; a busy machine shows fewer
                assert time.monotonic() < deadline, len(placed)
                envelope = client.receive()
                placed += received.hear(envelope, 0)
                if envelope.kind == "TRANSFORM":
                    transform = parse_transform(envelope.content)
            assert all(frame.pose_status == "ok" and frame.geometry.spacing_mm == pytest.approx((0.4, 0.4)) for frame in placed)
            depths = [frame.pose.matrix[2, 3] for frame in placed]
            assert max(depths) > min(depths)
            assert "Volume_Reference" in command(client, 3, "snapshot")
            stopping_ns, answer, shown = time.time_ns(), "", None
            client.send("COMMAND", "Remote", pack_command(CommandBody(4, "stop", "")), version=2)
            deadline = time.monotonic() + PATIENCE_S
            while not answer or shown is None or not list((tmp_path / "sweeps").glob("*_0-state.nrrd")):
                assert time.monotonic() < deadline, (answer, shown)
                envelope = client.receive()
                if envelope.kind == "RTS_COMMAND":
                    answer = parse_command(envelope.content).content
                elif envelope.device == "Volume_Reference" and envelope.timestamp_ns > stopping_ns:  # that of the end
                    shown = parse_image(envelope.content)
            assert "<Result>true" in answer
            client.close()
    (path,) = (one for one in (tmp_path / "sweeps").glob("*_0.nrrd"))
    saved = SimpleITK.ReadImage(str(path))
    voxels = SimpleITK.GetArrayFromImage(saved)
    first = np.rint((np.array(saved.GetOrigin()) - shown.image_to_lps[:3, 3]) / 0.5).astype(int)
    k, j, i = (slice(at, at + size) for at, size in zip(first[::-1], voxels.shape, strict=True))
    np.testing.assert_allclose(shown.image_to_lps[:3, :3], np.diag([0.5] * 3), atol=1e-6)
    np.testing.assert_array_equal(shown.voxels[k, j, i], voxels)
    assert voxels.max() > 50
