"""The recorder between a bridge and a disk: everything that came in is kept, and every end has a name."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from synthetic_frames import frame, same

from edge.bus import FrameQueue, Publisher, Subscriber, ipc
from edge.config import Config, RecordConfig, VolumeConfig
from edge.files import open_sweep
from edge.files import recording as recording_module
from edge.files.recording import RecordingFailed, RecordingWriter
from edge.files.recovery import is_finished, survey
from edge.messages import FaultRaised, Geometry, Status, SweepEnded
from edge.record import RecordService
from edge.services import SERVICES

SOON_S = 20.0
PROGRAM = """import argparse, sys
from edge.commands import record
parser = argparse.ArgumentParser()
record.add_arguments(parser)
sys.exit(record.run(parser.parse_args()))"""


class Bench:
    """A recorder with the bridge's end of its queue, the bridge's publisher, and somebody who listens to the recorder."""

    def __init__(self, context, run_dir, config):
        self.queue = FrameQueue(context, ipc(run_dir, "frames.record"), SERVICES["record"].queue_frames)
        self.bridge = Publisher(context, ipc(run_dir, "bridge"))
        self.listener = Subscriber(context, ipc(run_dir, "record"), (SweepEnded, FaultRaised, Status))
        self.service = RecordService(context, config)
        self.folder = Path(config.record.folder)
        self.ended, self.faults, self.status = [], [], []
        self.until(lambda: self.status)

    def send(self, *frames):
        for one in frames:
            assert self.queue.offer(one, 1000)

    def hear(self):
        while (message := self.listener.receive()) is not None:
            if not (isinstance(message, FaultRaised) and message.name == "DISK_NEARLY_FULL"):  # heard or not: it comes with the first step
                {SweepEnded: self.ended, FaultRaised: self.faults, Status: self.status}[type(message)].append(message)

    def until(self, done):
        """Step until ``done``."""
        deadline = time.monotonic() + SOON_S
        while not done():
            assert time.monotonic() < deadline, (self.ended, self.faults, self.status[-1:])
            self.service.step()
            self.hear()

    def counts(self):
        return self.status[-1].counts

    def close(self):
        self.service.close()
        for one in (self.queue, self.bridge, self.listener):
            one.close()


@contextmanager
def recorder(context, run_dir, **changes):
    record = {"folder": str(run_dir / "sweeps"), "sync_ms": 20, "keep_free_mib": 0}
    record |= {k: changes.pop(k) for k in ("keep_free_mib", "sync_ms") if k in changes}
    made = Bench(context, run_dir, Config(run_dir=str(run_dir), record=RecordConfig(**record), volume=VolumeConfig(**changes)))
    try:
        yield made
    finally:
        made.close()


def read(path):
    return list(open_sweep(Path(path)).frames())


def test_a_sweep_is_on_disk_as_it_came_in_and_its_end_is_told(context, run_dir):
    frames = [frame(i, last=i == 9) for i in range(10)]
    with recorder(context, run_dir) as bench:
        bench.send(*frames)
        bench.until(lambda: bench.ended)
        (end,) = bench.ended
        assert (end.reason, end.frames, end.lost, end.service) == ("last", 10, 0, "record")
        assert Path(end.files[0]).name == "sweep_abcdef0123456789_0003_0.mcap"
        assert all(same(a, b) for a, b in zip(frames, read(end.files[0]), strict=True))
        assert survey(Path(end.files[0])).metadata["sweep_end"] == {"reason": "last", "frames": "10"}


def test_a_card_that_stalls_longer_than_a_probe_may_be_silent_does_not_end_the_recording(context, run_dir, monkeypatch):
    append, stalls = RecordingWriter.append, [1.2]

    def stalling(self, one):
        time.sleep(stalls.pop() if stalls else 0)
        append(self, one)

    with recorder(context, run_dir, silent_after_s=1.0) as bench:
        monkeypatch.setattr(RecordingWriter, "append", stalling)
        bench.send(frame(0))
        bench.until(lambda: not stalls)
        assert bench.service.state == "recording"
        bench.send(frame(1, last=True))
        bench.until(lambda: bench.ended)
        assert [(end.reason, end.frames) for end in bench.ended] == [("last", 2)]


def test_frames_are_safe_before_the_sweep_has_ended(context, run_dir):
    with recorder(context, run_dir) as bench:
        bench.send(*[frame(i) for i in range(5)])
        bench.until(lambda: bench.counts()["synced"] == 5)
        (path,) = bench.folder.iterdir()
        assert not is_finished(path) and len(read(path)) == 5
    assert is_finished(path) and survey(path).metadata["sweep_end"]["reason"] == "stopped"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sweep": 4}, "next"),
        ({"boot_id": 5}, "PROBE_RESTARTED"),
        ({"geometry": Geometry(width=30, height=16, spacing_mm=(0.1, 0.2))}, "GEOMETRY_CHANGED"),
    ],
)
def test_what_ends_a_sweep_begins_a_new_file(context, run_dir, change, reason):
    with recorder(context, run_dir) as bench:
        bench.send(frame(0), frame(1), frame(2, **change), frame(3, **change, last=True))
        bench.until(lambda: len(bench.ended) == 2)
        assert [(e.reason, e.frames) for e in bench.ended] == [(reason, 2), ("last", 2)]
        assert [f.sequence for e in bench.ended for f in read(e.files[0])] == [0, 1, 2, 3]


def test_photoacoustic_frames_of_another_size_belong_to_the_sweep(context, run_dir):
    small = {"geometry": Geometry(width=8, height=8, spacing_mm=(0.3, 0.3)), "modality": "photoacoustic", "wavelength_nm": 800.0}
    with recorder(context, run_dir) as bench:
        bench.send(frame(0), frame(1, **small), frame(2), frame(3, **small, last=True))
        bench.until(lambda: bench.ended)
        assert [f.modality for f in read(bench.ended[0].files[0])] == ["bmode", "photoacoustic"] * 2


def test_a_silent_probe_ends_the_recording(context, run_dir):
    with recorder(context, run_dir, silent_after_s=1.0) as bench:
        bench.send(frame(0), frame(3))
        bench.until(lambda: bench.ended)
        assert (bench.ended[0].reason, bench.ended[0].lost) == ("PROBE_SILENT", 2)


def test_an_overflow_at_the_bridge_ends_the_file_by_name_after_what_was_queued(context, run_dir, monkeypatch):
    monkeypatch.setattr("edge.record.QUEUE_EMPTY_S", 1.0)
    with recorder(context, run_dir) as bench:
        fault = FaultRaised(service="bridge", name="RECORDER_OVERFLOW", boot_id=frame(0).boot_id, sweep=3)
        bench.send(frame(0))
        bench.until(lambda: bench.counts()["frames"] == 1)
        bench.send(*[frame(i) for i in range(1, 40)])
        bench.bridge.say(fault)
        bench.until(lambda: bench.ended)
        assert (bench.ended[0].reason, bench.ended[0].frames) == ("RECORDER_OVERFLOW", 40)
        assert survey(Path(bench.ended[0].files[0])).metadata["sweep_end"]["reason"] == "RECORDER_OVERFLOW"


def test_an_empty_battery_closes_the_recording_and_does_not_begin_it_again(context, run_dir):
    tablet = Publisher(context, ipc(run_dir, "tablet"))
    with recorder(context, run_dir) as bench:
        bench.send(frame(0), frame(1))
        bench.until(lambda: bench.counts()["synced"] == 2)
        deadline = time.monotonic() + SOON_S
        while not bench.ended and time.monotonic() < deadline:
            tablet.say(FaultRaised(service="tablet", name="BATTERY_EMPTY", detail="3 %"))
            bench.service.step()
            bench.hear()
        assert [(e.reason, e.frames) for e in bench.ended] == [("BATTERY_EMPTY", 2)] and is_finished(Path(bench.ended[0].files[0]))
        bench.send(frame(2), frame(3))
        bench.until(lambda: bench.counts()["refused"] == 2)
        assert len(list(bench.folder.glob("*.mcap"))) == 1
    tablet.close()


def test_too_little_free_space_stops_with_a_fault_and_the_service_lives_on(context, run_dir):
    with recorder(context, run_dir, keep_free_mib=1 << 40) as bench:
        bench.send(frame(0), frame(1))
        bench.until(lambda: bench.ended)
        assert [f.name for f in bench.faults] == ["DISK_FULL"] and "must stay so" in bench.faults[0].detail
        assert (bench.ended[0].reason, bench.ended[0].frames, bench.ended[0].files) == ("DISK_FULL", 0, ())
        bench.until(lambda: bench.counts()["refused"] == 2)
        bench.send(frame(0, sweep=4))
        bench.until(lambda: len(bench.faults) == 2)
        assert bench.faults[1].sweep == 4


def test_a_disk_that_is_nearly_full_is_named_before_a_sweep_and_holds_until_there_is_room(context, run_dir, monkeypatch):
    free = {"mib": 1000}
    monkeypatch.setattr("edge.record.free_mib", lambda folder: free["mib"])
    monkeypatch.setattr("edge.record.SPACE_PERIOD_S", 0.05)
    with recorder(context, run_dir) as bench:
        bench.until(lambda: bench.status[-1].standing)
        assert "1000 MiB are free" in bench.status[-1].standing["DISK_NEARLY_FULL"]
        assert bench.status[-1].health["free_mib"] == 1000 and not bench.ended
        free["mib"] = 2049
        bench.until(lambda: bench.status[-1].health["free_mib"] == 2049)
        assert bench.status[-1].standing, "one MiB more must not end it"
        free["mib"] = 9000
        bench.until(lambda: not bench.status[-1].standing)
        assert bench.status[-1].faults == {"DISK_NEARLY_FULL": 1}, "raised once, however long it holds"


def test_a_storage_that_takes_nothing_any_more_is_named_before_a_sweep(context, run_dir, monkeypatch):
    state = {"error": OSError(errno.EROFS, "Read-only file system")}

    def free_mib(folder):
        if state["error"]:
            raise state["error"]
        return 9000

    monkeypatch.setattr("edge.record.free_mib", free_mib)
    monkeypatch.setattr("edge.record.SPACE_PERIOD_S", 0.05)
    with recorder(context, run_dir) as bench:
        bench.until(lambda: "Read-only" in bench.status[-1].standing.get("STORAGE_FAILED", ""))
        bench.send(frame(0, last=True))
        bench.until(lambda: bench.ended)
        assert (bench.ended[0].reason, bench.ended[0].frames) == ("STORAGE_FAILED", 0)
        state["error"] = None
        bench.send(frame(0, sweep=4, last=True))
        bench.until(lambda: len(bench.ended) == 2 and not bench.status[-1].standing)
        assert bench.ended[1].reason == "last"


def test_a_recording_that_was_refused_stands_until_the_next_one_begins(context, run_dir, monkeypatch):
    free = {"mib": 1}
    monkeypatch.setattr("edge.record.free_mib", lambda folder: free["mib"])
    with recorder(context, run_dir, keep_free_mib=10) as bench:
        bench.send(frame(0))
        bench.until(lambda: "DISK_FULL" in bench.status[-1].standing)
        free["mib"] = 9000
        bench.send(frame(0, sweep=4))
        bench.until(lambda: bench.counts()["synced"] == 1)
        bench.until(lambda: "DISK_FULL" not in bench.status[-1].standing)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_recording_says_when_it_began_and_whether_the_clock_was_synchronised(context, run_dir, monkeypatch, trusted):
    monkeypatch.setattr("edge.record.clock_trusted", lambda: trusted)
    monkeypatch.setattr("edge.record.clock_source", lambda: "network" if trusted else "tablet iPad 1")
    with recorder(context, run_dir) as bench:
        bench.send(frame(0, last=True))
        bench.until(lambda: bench.ended)
        said = survey(Path(bench.ended[0].files[0])).metadata["sweep"]
        assert said["clock_trusted"] == str(trusted).lower() and said["started"].startswith("20")
        assert said["clock_source"] == ("network" if trusted else "tablet iPad 1")


def test_a_disk_that_fills_keeps_the_synced_frames_and_the_next_sweep_is_tried_again(context, run_dir, monkeypatch):
    with recorder(context, run_dir) as bench:
        bench.send(frame(0), frame(1))
        bench.until(lambda: bench.counts()["synced"] == 2)

        def full(self, data):
            os.write(self.descriptor, bytes(data)[:50])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(recording_module._Output, "write", full)
            bench.send(frame(2), frame(3))
            bench.until(lambda: bench.ended)
        assert (bench.ended[0].reason, bench.ended[0].frames) == ("DISK_FULL", 2) and bench.faults[0].name == "DISK_FULL"
        assert [f.sequence for f in read(bench.ended[0].files[0])] == [0, 1]
        bench.send(frame(4), frame(0, sweep=4), frame(1, sweep=4, last=True))
        bench.until(lambda: len(bench.ended) == 2)
        assert (bench.ended[1].sweep, bench.ended[1].reason, len(read(bench.ended[1].files[0]))) == (4, "last", 2)


def test_interrupted_recordings_are_finished_at_the_start_and_a_restart_goes_on_in_a_new_file(context, run_dir):
    folder = run_dir / "sweeps"
    cut = RecordingWriter(folder / "sweep_abcdef0123456789_0003_0.mcap", {})
    for i in range(4):
        cut.append(frame(i))
    cut.sync()
    cut.abandon()
    with cut.path.open("ab") as file:
        file.write(b"\x06half a chunk")
    with recorder(context, run_dir) as bench:
        bench.send(frame(6), frame(7, last=True))
        bench.until(lambda: bench.ended and bench.counts()["recovered"] == 1)
        assert Path(bench.ended[0].files[0]).name == "sweep_abcdef0123456789_0003_1.mcap"
        assert is_finished(cut.path) and len(read(cut.path)) == 4


def test_frames_that_are_given_again_are_recorded_once(context, run_dir):
    with recorder(context, run_dir) as bench:
        bench.send(*[frame(i, received_ns=5000 + i) for i in range(6)])
        bench.until(lambda: bench.counts()["synced"] == 6)
        assert bench.status[-1].safe_ns == 5005
    assert bench.service.status().safe_ns == 5005
    with recorder(context, run_dir) as bench:  # the bridge had not heard of it
        bench.send(*[frame(i, received_ns=5000 + i, last=i == 8) for i in range(3, 9)])
        bench.until(lambda: bench.ended)
    assert [[f.sequence for f in read(path)] for path in sorted(bench.folder.iterdir())] == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    with recorder(context, run_dir) as bench:
        bench.send(*[frame(i, received_ns=5000 + i, last=i == 8) for i in range(3, 9)])
        bench.until(lambda: bench.status[-1].safe_ns == 5008)
    assert len(list(bench.folder.iterdir())) == 2, "nothing new, no file"


def test_a_bridge_that_falls_silent_is_named(context, run_dir):
    with recorder(context, run_dir) as bench:
        deadline = time.monotonic() + SOON_S
        while not bench.service._peers.alive("bridge"):
            assert time.monotonic() < deadline
            bench.bridge.say(Status(service="bridge", state="idle", counts={}))
            bench.service.step()
        bench.until(lambda: bench.faults)
        assert [f.name for f in bench.faults] == ["BRIDGE_GONE"]


def test_a_folder_that_cannot_be_used_is_refused_by_name(context, run_dir):
    (run_dir / "file").write_text("")
    config = Config(run_dir=str(run_dir), record=RecordConfig(folder=str(run_dir / "file" / "sweeps")))
    with pytest.raises(RecordingFailed, match="choose another folder"):
        RecordService(context, config)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_finishes_on_sigterm_and_loses_nothing_synced_on_kill(context, run_dir, sent):
    queue = FrameQueue(context, ipc(run_dir, "frames.record"), 256)
    listener = Subscriber(context, ipc(run_dir, "record"), (Status,))
    config = run_dir / "edge.toml"
    config.write_text("[record]\nkeep_free_mib = 1\nsync_ms = 20\n")
    words = ["--config", str(config), "--run-dir", str(run_dir), "--folder", str(run_dir / "sweeps")]
    synced = 0
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=subprocess.PIPE) as process:
        try:
            for i in range(30):
                assert queue.offer(frame(i), 20_000)
            deadline = time.monotonic() + SOON_S
            while synced < 20 and time.monotonic() < deadline:
                if listener.socket.poll(100) and (status := listener.receive()):
                    synced = status.counts["synced"]
        finally:
            process.send_signal(sent)
            talk = process.communicate()[1].decode()
    queue.close(0)
    listener.close()
    (path,) = (run_dir / "sweeps").glob("*.mcap")
    assert synced >= 20, talk
    assert len(read(path)) >= synced
    assert is_finished(path) == (sent == signal.SIGTERM) and process.returncode == (0 if sent == signal.SIGTERM else -9), talk
