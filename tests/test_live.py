"""A whole device as processes: played, killed, restarted, stopped. What a person does to it, and what it must say."""

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

from edge.app import main
from edge.config import BridgeConfig, Config, MotionConfig, RecordConfig, VolumeConfig
from edge.files import open_sweep
from edge.files.parts import SweepInParts
from edge.files.volumes import read_volume
from edge.local_device import LocalDevice
from edge.messages import Bricks, FaultRaised, Status, SweepEnded
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep

DATA = Path(__file__).parents[2] / "shared" / "data"
LEG = DATA / "leg" / "leg_0318_0509.igs.mha"
FRAMES = 90


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """3 s of a small simulated probe."""
    path = tmp_path_factory.mktemp("sweep") / "small.igs.mha"
    settings = SimulationSettings(frames=FRAMES, frames_per_s=30.0, image_size=(96, 80), spacing_mm=(0.4, 0.4), speckle=False)
    write_simulated_sweep(path, simulate_sweep(settings))
    return path


@pytest.fixture
def config(tmp_path):
    run_dir = tempfile.mkdtemp(prefix="sono-")
    yield Config(
        run_dir=run_dir,
        bridge=BridgeConfig(endpoint=f"ipc://{run_dir}/probe.ipc"),
        motion=MotionConfig(source="recorded"),
        volume=VolumeConfig(spacing_mm=0.5, save=str(tmp_path / "volumes")),
        record=RecordConfig(folder=str(tmp_path / "recordings")),
    )
    shutil.rmtree(run_dir)


class Listener:
    """Remembers all that a device says."""

    def __init__(self, device):
        self.device, self.faults, self.ended, self.status, self.epochs = device, set(), [], {}, set()

    def until(self, done, timeout_s=30.0):
        deadline = time.monotonic() + timeout_s
        while not done(self):
            assert time.monotonic() < deadline, (self.faults, self.ended, {n: self.device.last_words(n) for n in self.device.processes})
            for service, message in self.device.hear(0.05):
                if isinstance(message, FaultRaised):
                    self.faults.add((service, message.name))
                elif isinstance(message, SweepEnded):
                    self.ended.append(message)
                elif isinstance(message, Bricks):
                    self.epochs.add(message.epoch)
                elif isinstance(message, Status):
                    self.status[service] = message
                    self.faults |= {(service, name) for name in message.faults}
        return self

    def count(self, service, key):
        return self.status[service].counts.get(key, 0) if service in self.status else 0


def play(config, sweep, rate="1"):
    command = [sys.executable, "-m", "edge", "probe", str(sweep), "--endpoint", config.bridge.endpoint, "--rate", rate, "--quiet"]
    return subprocess.Popen(command)


def frames_in(folder):
    """Sequence numbers of every frame in every recording of a folder."""
    return sorted(frame.sequence for path in sorted(Path(folder).glob("*.mcap")) for frame in open_sweep(path).frames())


def both_ended(listener):
    return {ended.service for ended in listener.ended} >= {"run", "record"}


@pytest.mark.parametrize("motion", [MotionConfig(source="recorded"), MotionConfig()], ids=lambda motion: motion.source)
def test_live_offline_and_the_recording_give_the_same_bytes(sweep, config, tmp_path, motion):
    config = msgspec.structs.replace(config, motion=motion)
    with LocalDevice(config) as device, play(config, sweep, "max") as probe:
        heard = Listener(device).until(both_ended)
        assert probe.wait() == 0
    files = {ended.service: ended.files for ended in heard.ended}
    run = next(ended for ended in heard.ended if ended.service == "run")
    assert (run.reason, run.frames, run.placed, run.lost) == ("last", FRAMES, FRAMES, 0)
    assert run.motion == {"recorded": "recorded", "network": "network: small"}[motion.source]
    live = Path(files["run"][0]).read_bytes()
    for number, source in enumerate((sweep, files["record"][0])):
        volume = tmp_path / f"offline{number}.nrrd"
        assert main(["reconstruct", str(source), "-o", str(volume), "--motion", motion.source, "--json"]) == 0
        assert volume.read_bytes() == live


def test_a_killed_reconstructor_is_named_and_the_recording_misses_nothing(sweep, config):
    with LocalDevice(config) as device, play(config, sweep) as probe:
        heard = Listener(device).until(lambda h: h.count("run", "placed") > 15)
        device.kill("run")
        heard.until(lambda h: any(name == "RECONSTRUCTOR_GONE" for _, name in h.faults))
        device.start("run")
        heard.until(both_ended)
        assert probe.wait() == 0
    assert ("run", "SWEEP_JOINED_LATE") in heard.faults
    assert len(heard.epochs) == 2, "a client must not merge what two processes have built"
    assert [ended.reason for ended in heard.ended if ended.service == "run"] == ["last"]
    assert frames_in(config.record.folder) == list(range(FRAMES))


def test_a_killed_recorder_is_named_and_no_frame_is_missing(sweep, config):
    with LocalDevice(config) as device, play(config, sweep) as probe:
        heard = Listener(device).until(lambda h: h.count("record", "synced") > 10)
        device.kill("record")
        heard.until(lambda h: {("bridge", "RECORDER_GONE"), ("run", "RECORDER_GONE")} & h.faults)
        device.start("record")
        heard.until(both_ended)
        assert probe.wait() == 0
    assert ("bridge", "RECORDER_OVERFLOW") not in heard.faults
    assert frames_in(config.record.folder) == list(range(FRAMES)), "lost, or recorded twice"
    first = min(Path(config.record.folder).glob("*.mcap"))
    assert [frame.sequence for frame in SweepInParts(first).frames()] == list(range(FRAMES))
    run = next(ended for ended in heard.ended if ended.service == "run")
    assert (run.placed, run.lost) == (FRAMES, 0), "the live volume must not notice"


def test_a_killed_bridge_is_named_and_the_sweep_goes_on_or_ends_cleanly(sweep, config):
    with LocalDevice(config) as device, play(config, sweep) as probe:
        heard = Listener(device).until(lambda h: h.count("run", "placed") > 15)
        device.kill("bridge")
        heard.until(lambda h: {("run", "BRIDGE_GONE"), ("record", "BRIDGE_GONE")} <= h.faults)
        device.start("bridge")
        heard.until(both_ended)
        assert probe.wait() == 0
    run = [ended for ended in heard.ended if ended.service == "run"]
    assert len(run) == 1 and run[0].placed + run[0].lost == FRAMES
    assert len(frames_in(config.record.folder)) == run[0].placed


def test_a_probe_that_falls_silent_ends_the_sweep_by_name(sweep, config):
    config = msgspec.structs.replace(config, volume=msgspec.structs.replace(config.volume, silent_after_s=1.0))
    with LocalDevice(config) as device, play(config, sweep) as probe:
        heard = Listener(device).until(lambda h: h.count("run", "placed") > 10)
        probe.kill()
        heard.until(both_ended)
    assert ("run", "PROBE_SILENT") in heard.faults
    assert {ended.reason for ended in heard.ended if ended.service == "run"} == {"PROBE_SILENT"}


def test_sigterm_in_the_middle_of_a_sweep_keeps_what_was_done(sweep, config):
    with LocalDevice(config) as device, play(config, sweep) as probe:
        Listener(device).until(lambda h: h.count("run", "placed") > 20)
        probe.terminate()
        device.stop()
        assert {process.returncode for process in device.processes.values()} == {0}
    assert list((Path(config.volume.save)).glob("*.nrrd"))
    assert len(frames_in(config.record.folder)) > 20
    assert not list(Path(config.run_dir).glob("*.ipc"))


def run_demo(arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "edge", "demo", *map(str, arguments)], stdout=subprocess.PIPE, **options)


@pytest.fixture
def temporary(monkeypatch):
    """A folder for temporary files of this test's processes alone: whatever else runs on the machine is not taken for theirs."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:  # short: the names of sockets have a limit
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def left_behind(temporary):
    """Folders of demos in ``temporary``, and processes that name one of them."""
    processes = [p for p in Path("/proc").glob("[0-9]*/cmdline") if f"{temporary}/".encode() in read_bytes(p)]
    return set(temporary.glob("sonosweep-*")), processes


def read_bytes(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_demo_ends_by_itself_with_its_files_and_leaves_nothing_behind(sweep, tmp_path, temporary):
    demo = run_demo(["--sweep", sweep, "--out", tmp_path, "--motion", "recorded", "--json"])
    report = json.loads(demo.communicate(timeout=120)[0])
    assert demo.returncode == 0
    assert report["frames"] == {"sent": FRAMES, "received": FRAMES, "placed": FRAMES, "lost": 0, "recorded": FRAMES}
    assert report["messages_missed"] == 0 and report["latency_ms"]["sent_to_bricks"]["p99"] > 0
    assert (report["motion"], report["accuracy"]) == ("recorded", [])
    names = {Path(path).name for path in report["files"]}
    assert {"small.nrrd", "small-state.nrrd", "small.png", "small-recorded.igs.mha", "report.json"} <= names
    assert all(Path(path).stat().st_size > 0 for path in report["files"])
    exported = list(open_sweep(tmp_path / "small-recorded.igs.mha").frames())
    for ours, theirs in zip(exported, open_sweep(sweep).frames(), strict=True):
        assert (ours.pixels == theirs.pixels).all() and ours.image_to_reference == theirs.image_to_reference
    assert left_behind(temporary) == (set(), [])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Two demos of a simulated probe, which run at the same time: (folder, process) of the one without options and the one with light."""
    asked = {"plain": [], "light": ["--photoacoustic", "--wavelengths", "750,850"]}
    folders = {name: tmp_path_factory.mktemp(name) for name in asked}
    demos = {name: run_demo(["--out", folders[name], "--rate", "max", "--json", *words]) for name, words in asked.items()}
    yield {name: (folders[name], demo) for name, demo in demos.items()}
    for demo in demos.values():
        demo.kill()
        demo.communicate()


@pytest.mark.timeout(300)
def test_without_options_the_demo_places_by_the_images_alone_and_says_how_far_off_it_ends(simulated):
    folder, demo = simulated["plain"]
    report = json.loads(demo.communicate(timeout=280)[0])
    assert demo.returncode == 0
    assert (report["motion"], report["direction"], report["direction_source"]) == ("network: small", "+", "preset")
    assert report["frames"]["placed"] == report["frames"]["sent"] and "DIRECTION_UNVERIFIED" not in report["faults"]
    rows = {row["motion"]: row["final_drift_rate_percent"] for row in report["accuracy"]}
    assert rows["network: small"] < rows["no motion"] and rows["constant 10 mm/s"] < rows["no motion"]
    exported = next(iter(open_sweep(folder / "simulated-recorded.igs.mha").frames()))
    assert exported.pose_origin == ("network: small", "+", "preset"), "an estimated pose must not pass as a tracked one"


def test_a_played_sweep_is_given_no_light(sweep, tmp_path, capsys):
    assert main(["demo", "--sweep", str(sweep), "--out", str(tmp_path), "--wavelengths", "750,850"]) != 0
    assert "leave out --photoacoustic" in capsys.readouterr().err
    assert main(["demo", "--out", str(tmp_path), "--wavelengths", "850,855"]) != 0
    assert "look alike" in capsys.readouterr().err and not (tmp_path / "simulated.igs.mha").exists()


def test_the_demo_with_wavelengths_ends_with_vessels_that_hold_against_the_phantom(simulated):
    folder, demo = simulated["light"]
    report = json.loads(demo.communicate(timeout=150)[0])
    assert demo.returncode == 0 and report["frames"]["placed"] == report["frames"]["sent"]
    names = {Path(path).name for path in report["files"]}
    light = {f"simulated-photoacoustic-{nm}nm.nrrd" for nm in (750, 850)}
    assert light | {"simulated-oxygen-saturation.nrrd", "simulated-vessels.png"} <= names
    rows = {row["motion"]: row for row in report["vessels"]}
    assert list(rows) == ["true poses", "network: small", "constant 10 mm/s"] and len(rows["true poses"]["dice_pieces"]) == 3
    assert rows["network: small"]["dice_of_true_poses"] >= 0.8 > rows["constant 10 mm/s"]["dice_of_true_poses"]
    assert all(row["saturation_error_points"] <= 3 for row in rows.values())
    assert rows["true poses"]["centre_line_mm"] < 0.2 < rows["network: small"]["centre_line_mm"]
    found = read_volume(folder / "simulated-photoacoustic-850nm.nrrd").metadata
    assert (found["wavelength_nm"], found["pulse_energy_normalisation"], found["motion"]) == ("850", "to 20 mJ", "network: small")


def test_the_demo_touches_nothing_that_it_did_not_make(sweep, tmp_path):
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "mine.nrrd").write_text("mine")
    demo = run_demo(["--sweep", sweep, "--out", tmp_path, "--rate", "max", "--motion", "constant", "--json"])
    report = json.loads(demo.communicate(timeout=120)[0])
    assert (tmp_path / "volumes" / "mine.nrrd").read_text() == "mine"
    assert (report["motion"], report["direction"], report["direction_source"]) == ("constant", "+", "unverified")
    assert report["faults"]["DIRECTION_UNVERIFIED"] >= 1


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT, signal.SIGINT], [signal.SIGKILL]], ids=str)
def test_however_the_demo_is_ended_no_process_stays(sweep, tmp_path, signals, temporary):
    demo = run_demo(["--sweep", sweep, "--out", tmp_path], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while len(left_behind(temporary)[1]) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(left_behind(temporary)[1]) >= 4, "a test that cannot see its processes cannot miss them"
    for number in signals:
        demo.send_signal(number)
        time.sleep(0.2)
    demo.communicate(timeout=60)
    assert demo.returncode not in (0, None)
    deadline = time.monotonic() + 20
    while left_behind(temporary)[1] and time.monotonic() < deadline:
        time.sleep(0.05)
    folders, processes = left_behind(temporary)
    assert not processes
    if signals == [signal.SIGKILL]:  # nobody is left to remove the folder
        for folder in folders:
            shutil.rmtree(folder)
    else:
        assert not folders


def test_ctrl_c_stops_the_demo_and_leaves_nothing_behind(sweep, tmp_path, temporary):
    demo = run_demo(["--sweep", sweep, "--out", tmp_path], stderr=subprocess.PIPE, start_new_session=True)
    time.sleep(3.0)  # anywhere in its life will do
    os.killpg(demo.pid, signal.SIGINT)
    demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert left_behind(temporary) == (set(), [])


@pytest.mark.skipif(not LEG.exists(), reason="the real sweeps (../shared/data) are not part of a clone")
def test_the_real_leg_sweep_goes_through_the_whole_device(tmp_path):
    demo = run_demo(["--sweep", LEG, "--out", tmp_path, "--rate", "2", "--motion", "recorded", "--json"])
    report = json.loads(demo.communicate(timeout=120)[0])
    assert (report["frames"]["placed"], report["frames"]["lost"], report["frames"]["recorded"]) == (192, 0, 192)
    offline = tmp_path / "offline.nrrd"
    assert main(["reconstruct", str(LEG), "-o", str(offline), "--motion", "recorded"]) == 0
    assert offline.read_bytes() == (tmp_path / "leg_0318_0509.nrrd").read_bytes()
