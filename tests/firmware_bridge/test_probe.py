"""The played front end: what it sends is what was recorded, at the rate that was asked for."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from bridge_bench import BridgeBench
from wire_frames import linear_frame, same

from edge.files import open_sweep, write_sweep
from edge.messages import Frame
from firmware_bridge.commands import probe as probe_command
from firmware_bridge.probe import QUEUE_FRAMES, FrontEnd, NoBridge, Playing, play
from firmware_bridge.wire import decode_frame

MS = 1_000_000


class Collector(FrontEnd):
    """A front end whose messages stay here."""

    def __init__(self, **options: bool) -> None:
        super().__init__("ipc:///tmp/nobody-listens-here.ipc", **options)
        self.frames: list[Frame] = []

    def send_parts(self, parts: list[bytes], patience_s: float | None = None) -> int:
        """Keep it."""
        self.frames.append(decode_frame(parts))
        self.queued += 1
        return time.monotonic_ns()

    def close(self, linger_s: float = 0.0) -> None:
        """Nothing has to leave."""
        super().close(0)


def sweep_file(folder: Path, count: int = 12) -> Path:
    """A tracked sweep of ``count`` frames, 2 ms apart."""
    path = folder / "sweep.igs.mha"
    write_sweep(path, [linear_frame(i, timestamp_ns=2 * MS * i) for i in range(count)])
    return path


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    probe_command.add_arguments(parser)
    return parser.parse_args(words)


def test_frames_travel_unchanged_but_for_their_sweep() -> None:
    recorded = [linear_frame(i) for i in (0, 1, 4)]
    with Collector() as front_end:
        list(play(recorded, front_end, Playing(boot_id=99, rate=0), sweep=3))
    assert [frame.last for frame in front_end.frames] == [False, False, True]
    assert {frame.sweep_key for frame in front_end.frames} == {(99, 3)}
    assert [frame.sequence for frame in front_end.frames] == [0, 1, 4]  # what was lost in the recording stays lost
    assert [frame.timestamp_ns for frame in front_end.frames] == [frame.timestamp_ns for frame in recorded]
    assert same(front_end.frames[0], linear_frame(0, boot_id=99, sweep=3))
    assert set(front_end.sent_ns) == {0, 1, 4}


def test_the_next_sweep_is_later_and_has_its_own_sent_times() -> None:
    with Collector() as front_end:
        for sweep in range(2):
            not_before = front_end.frames[-1].timestamp_ns + 5 if front_end.frames else 0
            list(play([linear_frame(i) for i in range(2 - sweep)], front_end, Playing(boot_id=1, rate=0), sweep, not_before))
    times = [frame.timestamp_ns for frame in front_end.frames]
    assert times == sorted(times) and times[2] == times[1] + 5
    assert set(front_end.sent_ns) == {0}


def test_poses_can_be_left_out() -> None:
    with Collector() as front_end:
        list(play([linear_frame(0)], front_end, Playing(boot_id=1, rate=0, with_poses=False)))
    assert front_end.frames[0].pose is None and front_end.frames[0].pose_status == "missing"


def test_a_stamped_front_end_sends_the_time_of_sending() -> None:
    before = time.monotonic_ns()
    with Collector(stamp=True) as front_end:
        front_end.send(linear_frame(0))
    assert before <= front_end.frames[0].timestamp_ns <= time.monotonic_ns()


def test_playing_waits_for_each_frames_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, naps = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        naps.append(round(seconds, 6))

    monkeypatch.setattr("firmware_bridge.probe.time.monotonic", lambda: now)
    monkeypatch.setattr("firmware_bridge.probe.time.sleep", sleep)
    with Collector() as front_end:
        list(play([linear_frame(i, timestamp_ns=40 * MS * i) for i in range(3)], front_end, Playing(boot_id=1, rate=2)))
    assert naps == [0.0, 0.02, 0.02]


def test_an_interrupted_sweep_is_ended() -> None:
    with Collector() as front_end:
        playing = play((linear_frame(i, timestamp_ns=3_600_000 * MS * i) for i in range(3)), front_end, Playing(boot_id=1))
        next(playing)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            next(playing)
        signal.signal(signal.SIGALRM, before)
    assert [(frame.sequence, frame.last) for frame in front_end.frames] == [(0, False), (1, True)]


def test_an_endpoint_that_is_none_is_named() -> None:
    with pytest.raises(NoBridge, match="5555"):
        FrontEnd("nowhere")


def test_a_front_end_without_a_bridge_holds_a_bounded_queue(tmp_path: Path) -> None:
    with FrontEnd(f"ipc://{tmp_path}/nobody.ipc", queue_frames=3) as front_end:
        accepted = [front_end.send(linear_frame(i), patience_s=0.01) for i in range(6)]
        assert accepted == [True, True, True, False, False, False]
        assert front_end.held_back_s > 0.03
        front_end.close(0)
    assert (front_end.queued, front_end.left, front_end.connected) == (3, 0, False)


def test_a_front_end_waits_for_a_bridge_that_comes_late(bench: BridgeBench) -> None:
    with FrontEnd(bench.endpoint) as front_end:
        front_end.send(linear_frame(0))
        opener = threading.Timer(0.3, bench.open_bridge, kwargs={"settle_s": 30.0})  # it waits for both consumers
        opener.start()
        assert not front_end.connected
    opener.join()
    run, _ = bench.consume("run"), bench.consume("record")
    bench.step_until(lambda: len(run.frames) == 1)
    assert (front_end.left, front_end.connected) == (1, True)


def test_what_a_bridge_does_not_take_is_not_called_sent(bench: BridgeBench) -> None:
    endpoint = bench.open_bridge()  # which does not step: it takes nothing
    front_end = FrontEnd(endpoint)
    while front_end.send(linear_frame(front_end.queued, width=400, height=400), patience_s=1.0):
        pass
    front_end.close(0.2)
    assert front_end.connected and front_end.left == front_end.queued - QUEUE_FRAMES


def test_the_command_without_a_bridge_claims_nothing_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_command, "LINGER_S", 0.2)
    options = parsed(str(sweep_file(tmp_path, count=3)), "--endpoint", f"ipc://{tmp_path}/nobody.ipc", "--json")
    assert probe_command.run(options) == 1
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["frames"], answer["queued"], answer["connected"], answer["interrupted"]) == (0, 3, False, False)
    assert "up to 3 of 3 frames never left" in err


def test_the_command_without_a_bridge_ended_by_ctrl_c_claims_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(complaint: str) -> None:
        assert "no bridge lets us in" in complaint
        raise KeyboardInterrupt

    monkeypatch.setattr("firmware_bridge.probe.COMPLAIN_AFTER_S", 0.0)
    monkeypatch.setattr("firmware_bridge.probe.say", ctrl_c)
    options = parsed(str(sweep_file(tmp_path)), "--endpoint", f"ipc://{tmp_path}/nobody.ipc", "--json")
    assert probe_command.run(options) == 130
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["frames"], answer["queued"], answer["connected"], answer["interrupted"]) == (0, QUEUE_FRAMES, False, True)
    assert "up to 8 of 8 frames never left" in err


def test_the_command_plays_a_file_to_the_bridge(bench: BridgeBench, tmp_path: Path) -> None:
    endpoint = bench.open_bridge()
    run, record = bench.consume("run"), bench.consume("record")
    path, trace = sweep_file(tmp_path), tmp_path / "trace.json"
    command = [sys.executable, "-m", "edge", "probe", str(path), "--endpoint", endpoint, "--rate", "max", "--trace", str(trace), "--json"]
    player = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    bench.step_until(lambda: len(run.frames) == len(record.frames) == 12 and player.poll() is not None)
    assert player.stdout
    answer = json.loads(player.stdout.read())
    player.stdout.close()
    assert (player.returncode, answer["frames"], answer["sweeps"], answer["interrupted"]) == (0, 12, 1, False)
    assert (answer["queued"], answer["connected"]) == (12, True)
    assert answer["boot_id"] == f"{run.frames[0].boot_id:016x}"
    sent = json.loads(trace.read_text())
    assert [int(key) for key in sent] == run.sequences
    assert all(sent[str(frame.sequence)] <= frame.received_ns for frame in run.frames)
    for frame, recorded in zip(run.frames, open_sweep(path).frames(), strict=True):
        assert np.array_equal(frame.pixels, recorded.pixels)
        assert frame.image_to_reference == recorded.image_to_reference
        assert (frame.timestamp_ns, frame.last) == (recorded.timestamp_ns, recorded.last)


def test_a_looping_command_ends_cleanly_with_ctrl_c(bench: BridgeBench, tmp_path: Path) -> None:
    endpoint = bench.open_bridge()
    run = bench.consume("run")
    command = [sys.executable, "-m", "edge", "probe", str(sweep_file(tmp_path)), "--endpoint", endpoint, "--loop", "--json"]
    player = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
    bench.step_until(lambda: bool(run.frames) and run.frames[-1].sweep >= 2)
    player.send_signal(signal.SIGINT)
    bench.step_until(lambda: player.poll() is not None)
    out, err = player.communicate()
    assert player.returncode == 130
    answer = json.loads(out)
    assert answer["interrupted"] is True and answer["sweeps"] >= 2
    assert answer["connected"] is True and answer["frames"] == answer["queued"] >= 24
    assert b"Traceback" not in err


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast"])
def test_a_rate_that_is_none_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("sweep.igs.mha", f"--rate={rate}")
    assert "above 0 nor max" in capsys.readouterr().err
