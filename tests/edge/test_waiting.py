"""A reconstructor that cannot begin stays alive, says why, and begins once it can; recordings never wait for it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import pytest

import edge.gpu as gpu
from edge.app import main
from edge.bus import FrameQueue, Publisher, Subscriber, ipc
from edge.config import BridgeConfig, Config, MotionConfig, RecordConfig, VolumeConfig
from edge.files import open_sweep
from edge.files.recovery import is_finished
from edge.local_device import LocalDevice, ServiceFailed, as_toml
from edge.messages import Answer, Command, FaultRaised, Status, SweepEnded
from edge.motion.engine import EngineForeign, EngineMissing
from edge.motion.source import MotionUnavailable
from edge.services import CLIENTS_HEAR, WAITING
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep
from edge.waiting import Waiting, reason, unused_gpu

FRAMES = 60
NO_DRIVER = "libcuda.so.1 is not installed; install the NVIDIA driver"


@pytest.fixture
def config(tmp_path):
    run_dir = tempfile.mkdtemp(prefix="sono-")
    yield Config(
        run_dir=run_dir,
        bridge=BridgeConfig(endpoint=f"ipc://{run_dir}/probe.ipc"),
        motion=MotionConfig(source="recorded"),
        volume=VolumeConfig(spacing_mm=0.5, save=str(tmp_path / "volumes")),
        record=RecordConfig(folder=str(tmp_path / "recordings"), keep_free_mib=1, warn_free_mib=1),
    )
    shutil.rmtree(run_dir)


def named(config, **volume):
    return msgspec.structs.replace(config, volume=msgspec.structs.replace(config.volume, **volume))


def until(done, what, timeout_s=40.0):
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


class Ear:
    """What ``run`` says."""

    def __init__(self, context, config):
        self.subscriber = Subscriber(context, ipc(Path(config.run_dir), "run"), (*CLIENTS_HEAR, Answer), 10_000)
        self.status, self.faults, self.ended, self.answers = None, [], [], []

    def hear(self):
        while (message := self.subscriber.receive()) is not None:
            if isinstance(message, Status):
                self.status = message
            elif isinstance(message, FaultRaised):
                self.faults.append(message)
            elif isinstance(message, SweepEnded):
                self.ended.append(message)
            elif isinstance(message, Answer):
                self.answers.append(message)
        return self


def waiting(context, config, look, why=("GPU_MISSING", NO_DRIVER), period_s=0.05):
    return Waiting(context, config, why, [sys.executable, "-c", look], period_s)


def stepped(service, done, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, service.status()
        service.step()


def test_why_is_named_by_what_is_configured(config, monkeypatch):
    monkeypatch.setattr(gpu, "missing", lambda: NO_DRIVER)
    monkeypatch.setattr(gpu, "nodes", list)
    wrong = MotionUnavailable("no network can run here")
    network = msgspec.structs.replace(config, motion=MotionConfig(backend="trt"))
    for asked in (named(config, backend="cuda"), network):
        assert reason(asked, wrong) == ("GPU_MISSING", f"{NO_DRIVER}; there is no device node of a GPU in /dev")
    assert reason(config, wrong) == ("RECONSTRUCTION_REFUSED", str(wrong))
    monkeypatch.setattr(gpu, "nodes", lambda: ["/dev/nvhost-gpu"])
    assert reason(named(config, backend="cuda"), wrong) == ("GPU_MISSING", NO_DRIVER)
    monkeypatch.setattr(gpu, "missing", str)
    for kind in (EngineMissing, EngineForeign):
        assert reason(network, kind("small: no engine")) == ("ENGINE_MISSING", "small: no engine")


def test_a_jetson_whose_gpu_auto_does_not_use_says_so(config, monkeypatch):
    monkeypatch.setattr(gpu, "missing", lambda: NO_DRIVER)
    assert unused_gpu(config, "host") == {}, "not a Jetson"
    monkeypatch.setattr(gpu, "l4t", lambda: "36.4.3")
    assert unused_gpu(config, "host") == {"GPU_UNUSED": NO_DRIVER}
    assert unused_gpu(config, "cuda") == unused_gpu(named(config, backend="host"), "host") == {}


def test_device_nodes_of_a_gpu_are_found_and_disks_are_not(tmp_path):
    for name in ("nvme0n1", "nvram", "nvmap", "nvhost-gpu", "nvidia0", "nvgpu/igpu0/ctrl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.removeprefix(f"{tmp_path}/") for path in gpu.nodes(tmp_path)] == ["nvgpu/igpu0/ctrl", "nvhost-gpu", "nvidia0", "nvmap"]


def test_it_takes_frames_says_the_fault_and_obeys_what_it_can(config, context):
    run_dir = Path(config.run_dir)
    queue, tablet, ear = (
        FrameQueue(context, ipc(run_dir, "frames.run"), 4),
        Publisher(context, ipc(run_dir, "tablet")),
        Ear(context, config),
    )
    service = waiting(context, config, "import time; time.sleep(60)")
    try:
        stepped(service, lambda: ear.hear().status is not None)
        assert ear.status.state == WAITING and ear.status.standing == {"GPU_MISSING": NO_DRIVER}
        assert ear.status.faults == {"GPU_MISSING": 1}
        sent = [queue.offer(FaultRaised(service="bridge", name="FRAMES_LOST"), 2000) for _ in range(20) if service.step() is None]
        assert all(sent), "whoever sends must not wait for it"
        stepped(service, lambda: ear.hear().status.counts["ignored"] == 20)
        for number, action in enumerate(("aim", "rebuild")):
            command = Command(to="run", number=number, action=action)
            stepped(service, lambda c=command: tablet.say(c) or any(a.number == c.number for a in ear.hear().answers))
        assert {a.number: a.error for a in ear.answers} == {0: "", 1: "REBUILD_FAILED"}
    finally:
        service.close()
        for one in (queue, tablet, ear.subscriber):
            one.close()


def test_it_looks_again_and_again_names_what_is_lacking_now_and_ends_once_nothing_is(config, context, tmp_path):
    count = tmp_path / "count"
    look = f"""import json, sys
from pathlib import Path
count = Path({str(count)!r})
at = int(count.read_text()) if count.exists() else 0
count.write_text(str(at + 1))
if at == 0: print(json.dumps({{"fault": "ENGINE_MISSING", "detail": "no engine"}}))
sys.exit(0 if at == 2 else 1)"""
    ear = Ear(context, config)
    service = waiting(context, config, look, period_s=60)
    seen = []

    def over():
        ear.hear()
        if ear.status and (not seen or seen[-1] != ear.status.standing):
            seen.append(ear.status.standing)
        return service.over

    try:
        stepped(service, lambda: over() or seen)
        service._period_s, service._next_look = 0.4, 0.0
        stepped(service, over)
    finally:
        service.close()
        ear.subscriber.close()
    assert [next(iter(one)) for one in seen] == ["GPU_MISSING", "ENGINE_MISSING", "RECONSTRUCTION_REFUSED"]
    assert "did not say why" in seen[-1]["RECONSTRUCTION_REFUSED"] and count.read_text() == "3"


def test_new_device_nodes_end_the_wait_for_systemd_gives_a_running_service_none(config, context, monkeypatch):
    service = waiting(context, config, "raise SystemExit(1)", period_s=0.0)
    monkeypatch.setattr(gpu, "nodes", lambda: ["/dev/nvhost-gpu"])
    try:
        stepped(service, lambda: service.over)
    finally:
        service.close()


def test_a_named_gpu_that_is_absent_is_a_named_fault_sweeps_are_recorded_and_the_volume_begins_once_it_may(config, context, tmp_path):
    """As processes: first the configuration names a GPU that is not here; then, and nobody touches the service, it asks for none."""
    if not gpu.missing():
        pytest.skip("this machine has a GPU")
    sweep = tmp_path / "small.igs.mha"
    settings = SimulationSettings(frames=FRAMES, frames_per_s=30.0, image_size=(64, 60), spacing_mm=(0.4, 0.4), speckle=False)
    write_simulated_sweep(sweep, simulate_sweep(settings))
    wanted = Path(config.run_dir) / "wanted.toml"
    wanted.write_text(as_toml(named(config, backend="cuda")))
    ear = Ear(context, config)

    def play():
        command = ["probe", str(sweep), "--endpoint", config.bridge.endpoint, "--rate", "max", "--quiet"]
        assert subprocess.run([sys.executable, "-m", "edge", *command], check=False).returncode == 0

    def recorded():
        return [path for path in Path(config.record.folder).glob("*.mcap")]

    with LocalDevice(config, ("bridge", "record")) as device:
        run = subprocess.Popen([sys.executable, "-m", "edge", "run", "--config", str(wanted)], stderr=subprocess.PIPE, text=True)
        try:
            until(lambda: ear.hear().status is not None, device.last_words)
            assert ear.status.state == WAITING and list(ear.status.standing) == ["GPU_MISSING"]
            play()
            until(lambda: list(device.hear(0.05)) is None or (recorded() and is_finished(recorded()[0])), recorded)
            assert [frame.sequence for frame in open_sweep(recorded()[0]).frames()] == list(range(FRAMES))
            assert ear.hear().ended == []
            wanted.write_text(as_toml(config))
            until(lambda: ear.hear().status.state == "idle" and list(device.hear(0.05)) is not None, lambda: ear.status)
            assert run.poll() is None and ear.status.standing == {}
            play()
            until(lambda: list(device.hear(0.05)) is None or ear.hear().ended, lambda: ear.status)
            assert (ear.ended[0].reason, ear.ended[0].placed) == ("last", FRAMES)
        finally:
            run.send_signal(signal.SIGTERM)
            said = run.communicate(timeout=20)[1]
            ear.subscriber.close()
    assert run.returncode == 0 and said.startswith("GPU_MISSING: The graphics processor does not answer."), said


def test_under_systemd_it_ends_to_be_started_anew(tmp_path):
    """Only a service that is started gets the device nodes of now."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        program = "from edge.waiting import begin_again; raise SystemExit(begin_again())"
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "n")}
        assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=30, check=False).returncode == 0
        assert listening.recv(100) == b"STOPPING=1"


def test_run_check_says_what_would_begin_or_what_is_lacking(config, tmp_path, capsys):
    file = tmp_path / "edge.toml"
    file.write_text(as_toml(config))
    assert main(["run", "--config", str(file), "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["motion"] == "recorded"
    if gpu.missing():
        file.write_text(as_toml(named(config, backend="cuda")))
        assert main(["run", "--config", str(file), "--check", "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["fault"] == "GPU_MISSING"


def test_without_onnxruntime_the_cure_is_said(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("edge.motion.ort.find_spec", lambda name: None)
    (tmp_path / "edge.toml").write_text(as_toml(msgspec.structs.replace(config, motion=MotionConfig())))
    assert main(["run", "--config", str(tmp_path / "edge.toml"), "--check"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("RECONSTRUCTION_REFUSED: ") and "onnxruntime is not installed (pip install" in said


def test_a_demo_does_not_wait_for_what_this_machine_has_not(config):
    if not gpu.missing():
        pytest.skip("this machine has a GPU")
    with (
        pytest.raises(ServiceFailed, match="run cannot begin"),
        LocalDevice(named(config, backend="cuda")),
    ):
        pass
