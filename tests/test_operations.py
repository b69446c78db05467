"""A whole device, looked at from beside it: status, figures for Prometheus, the bundle for support."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
from free_port import free_port

from edge.app import main
from edge.config import BridgeConfig, Config, MetricsConfig, MotionConfig, RecordConfig, TabletConfig, VolumeConfig
from edge.files import open_sweep
from edge.files.recovery import survey
from edge.local_device import LocalDevice
from edge.services import SERVICES
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep

sys.path.insert(0, str(Path(__file__).parent / "edge" / "tablet"))

from test_metrics import read


@pytest.fixture
def config(tmp_path):
    run_dir = tempfile.mkdtemp(prefix="sono-")
    yield Config(
        run_dir=run_dir,
        bridge=BridgeConfig(endpoint=f"ipc://{run_dir}/probe.ipc"),
        motion=MotionConfig(source="recorded"),
        volume=VolumeConfig(spacing_mm=0.5),
        record=RecordConfig(folder=str(tmp_path / "sweeps"), keep_free_mib=1, warn_free_mib=1),
        tablet=TabletConfig(address="127.0.0.1", port=0, secure=False, folder=str(tmp_path / "tablet")),
        metrics=MetricsConfig(port=free_port()),
    )
    shutil.rmtree(run_dir)


def scraped(config):
    with urllib.request.urlopen(f"http://127.0.0.1:{config.metrics.port}/metrics", timeout=5) as answer:
        return read(answer.read().decode())


def looked(config, capsys, *words):
    code = main(["status", "--run-dir", config.run_dir, "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_a_device_is_seen_from_beside_it(config, tmp_path, capsys):
    sweep = tmp_path / "small.igs.mha"
    settings = SimulationSettings(frames=60, frames_per_s=30.0, image_size=(64, 60), spacing_mm=(0.4, 0.4), speckle=False)
    write_simulated_sweep(sweep, simulate_sweep(settings))
    with LocalDevice(config, tuple(SERVICES)) as device:
        command = [sys.executable, "-m", "edge", "probe", str(sweep), "--endpoint", config.bridge.endpoint, "--quiet"]
        with subprocess.Popen(command) as probe:
            time.sleep(1.0)
            _, during = looked(config, capsys)
            assert probe.wait() == 0
        run = next(row for row in during["services"] if row["service"] == "run")
        assert run["frames_per_s"] > 10 and run["memory_mib"] > 10 and run["p99_ms"] > 0
        time.sleep(0.5)
        code, told = looked(config, capsys)
        standing = {wrong["name"] for wrong in told["wrong"]} - {"DEVICE_HOT", "DEVICE_THROTTLED"}  # of this machine
        assert standing == set() and code == (1 if told["wrong"] else 0)
        assert told["device"]["free_mib"] > 0 and told["device"]["clock_trusted"] in (0.0, 1.0)
        samples = scraped(config)
        assert samples["sonosweep_frames_received_total",] == samples["sonosweep_sweep_frames_synced",] == 60
        assert samples["sonosweep_sweep_frames_placed",] == 60 and samples["sonosweep_frames_lost_total",] == 0
        assert all(samples["sonosweep_up", ("service", name)] == 1 for name in SERVICES)
        bundle = tmp_path / "b.zip"
        assert main(["support-bundle", "-o", str(bundle), "--config", str(Path(config.run_dir) / "edge.toml")]) == 0
        with zipfile.ZipFile(bundle) as opened:
            assert len(json.loads(opened.read("status.json"))["services"]) == len(SERVICES)
        capsys.readouterr()
        device.kill("record")
        time.sleep(2.0)
        code, told = looked(config, capsys)
        assert code == 1 and "RECORDER_GONE" in {wrong["name"] for wrong in told["wrong"]}
        assert scraped(config)["sonosweep_up", ("service", "record")] == 0
    (recording,) = Path(config.record.folder).glob("*.mcap")
    assert survey(recording).metadata["sweep"]["clock_trusted"] in ("true", "false")
    assert open_sweep(recording).frame_count == 60
