"""The bridge between real sockets: what each consumer gets, who waits for whom, and what is said when somebody is not there."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest
from bridge_bench import BridgeBench
from wire_frames import linear_frame

from edge.messages import Frame
from edge.services import SERVICES
from firmware_bridge.probe import FrontEnd
from firmware_bridge.wire import encode_frame


def large_frame(sequence: int, **changes: Any) -> Frame:
    """40 kB, so that sockets' own buffers hold few of them."""
    return linear_frame(sequence, width=200, height=200, **changes)


def send(bench: BridgeBench, front_end: FrontEnd, frames: list[Frame]) -> None:
    """All frames, the bench stepping meanwhile."""
    for frame in frames:
        bench.step_until(lambda frame=frame: front_end.send(frame, patience_s=0))


def send_until(bench: BridgeBench, front_end: FrontEnd, fault: str, sweep: int = 0) -> int:
    """Frames of one sweep until ``fault`` is raised; answers how many."""
    for sequence in range(5000):
        send(bench, front_end, [large_frame(sequence, sweep=sweep)])
        if fault in bench.fault_names:
            return sequence + 1
    pytest.fail(f"5000 frames did not raise {fault}: {bench.counts}")


def test_every_consumer_gets_every_frame_stamped(bench: BridgeBench) -> None:
    bench.open_bridge()
    run, record = bench.consume("run"), bench.consume("record")
    before = time.monotonic_ns()
    send(bench, bench.front_end(), [linear_frame(i) for i in range(20)])
    bench.step_until(lambda: len(run.frames) == len(record.frames) == 20)
    assert run.sequences == record.sequences == list(range(20))
    frame = record.frames[-1]
    assert before < frame.received_ns < time.monotonic_ns()
    assert 0 <= frame.received_ns - frame.timestamp_ns - frame.clock_offset_ns
    assert not bench.faults


def test_a_missing_reconstructor_does_not_disturb_the_recording(bench: BridgeBench) -> None:
    bench.open_bridge()
    record = bench.consume("record")
    front_end = bench.front_end()
    send(bench, front_end, [large_frame(i) for i in range(300)])
    bench.step_until(lambda: len(record.frames) == 300)
    assert record.sequences == list(range(300))
    assert bench.fault_names == ["RECONSTRUCTOR_GONE"]
    assert bench.counts["to_run_dropped"] == 300 and bench.counts["to_record_dropped"] == 0


def test_a_recorder_that_never_was_there_is_named_once_and_is_no_overflow(bench: BridgeBench) -> None:
    bench.open_bridge()
    run = bench.consume("run")
    send(bench, bench.front_end(), [linear_frame(i) for i in range(30)])
    bench.step_until(lambda: len(run.frames) == 30)
    bench.step()
    assert bench.fault_names == ["RECORDER_GONE"]
    assert bench.counts["to_record_dropped"] == 30


def test_a_recorder_that_comes_back_gets_what_came_while_it_was_away(bench: BridgeBench) -> None:
    bench.open_bridge()
    bench.consume("run")
    record, front_end = bench.consume("record"), bench.front_end()
    send(bench, front_end, [linear_frame(i) for i in range(5)])
    bench.step_until(lambda: len(record.frames) == 5)
    bench.step_until(lambda: record.say_status(safe_ns=record.frames[2].received_ns) or safe_of(bench, "record"))
    bench.lose(record)
    send(bench, front_end, [linear_frame(i) for i in range(5, 8)])
    bench.step_until(lambda: "RECORDER_GONE" in bench.fault_names and bench.counts["received"] == 8)
    again = bench.consume("record")
    send(bench, front_end, [linear_frame(i) for i in range(8, 12)])
    bench.step_until(lambda: len(again.frames) == 9)
    assert again.sequences == list(range(3, 12)), "what was not on the disk, what came meanwhile, what comes now"
    assert bench.fault_names == ["RECORDER_GONE"] and bench.counts["to_record_dropped"] == 0


def safe_of(bench: BridgeBench, name: str) -> int:
    """What the bridge has heard to be on the disk."""
    said = bench.bridge._peers.statuses.get(name) if bench.bridge else None
    return said.safe_ns if said else 0


def test_what_waited_for_a_recorder_that_died_is_kept_for_the_next(bench: BridgeBench) -> None:
    bench.open_bridge()
    run, record, front_end = bench.consume("run", queue=2), bench.consume("record", queue=2), bench.front_end()
    run.taking = record.taking = False
    send(bench, front_end, [large_frame(i) for i in range(30)])
    bench.step_until(lambda: bench.counts["received"] == 30)
    waiting = {name: bench.counts[f"to_{name}_waiting"] for name in ("run", "record")}
    assert min(waiting.values()) > 3
    bench.lose(run)
    bench.lose(record)
    send(bench, front_end, [large_frame(30)])  # nobody is there
    bench.step_until(lambda: bench.counts["received"] == 31)
    again = bench.consume("record")
    bench.step_until(lambda: len(again.frames) == 31)
    assert again.sequences == list(range(31)), "also what was in the socket of the one that died"
    assert bench.counts["to_record_dropped"] == 0
    assert bench.counts["to_run_dropped"] == waiting["run"] + 1 and bench.counts["to_run_waiting"] == 0
    assert sorted(bench.fault_names) == ["RECONSTRUCTOR_GONE", "RECORDER_GONE"]


def test_a_silent_consumer_is_named(bench: BridgeBench) -> None:
    bench.open_bridge()
    run = bench.consume("run")
    heard = bench.bridge._peers if bench.bridge else None
    bench.step_until(lambda: run.say_status() or bool(heard and heard.alive("run")))
    bench.step_until(lambda: "RECONSTRUCTOR_GONE" in bench.fault_names)
    bench.step_for(0.3)
    assert bench.fault_names == ["RECONSTRUCTOR_GONE"]


def test_an_overflowing_recorder_ends_the_recording_without_a_hole(bench: BridgeBench) -> None:
    bench.open_bridge()
    run, record, front_end = bench.consume("run"), bench.consume("record"), bench.front_end()
    record.taking = False
    sent = send_until(bench, front_end, "RECORDER_OVERFLOW")
    assert sent > SERVICES["record"].queue_frames
    record.taking = True
    send(bench, front_end, [large_frame(i) for i in range(sent, sent + 50)])
    send(bench, front_end, [large_frame(i, sweep=1) for i in range(10)])
    bench.step_until(lambda: len(run.frames) == sent + 60 and (record.frames[-1].sweep, record.frames[-1].sequence) == (1, 9))
    kept = [frame.sequence for frame in record.frames if frame.sweep == 0]
    assert kept == list(range(len(kept)))
    assert len(kept) + bench.counts["to_record_dropped"] == sent + 50
    assert [frame.sequence for frame in record.frames if frame.sweep == 1] == list(range(10))
    assert bench.fault_names == ["RECORDER_OVERFLOW"]


def test_a_slow_reconstructor_holds_the_probe_back_and_loses_nothing(bench: BridgeBench) -> None:
    bench.open_bridge()
    run, record, front_end = bench.consume("run", queue=2), bench.consume("record"), bench.front_end()
    run.taking = False
    assert bench.bridge
    consumer = next(one for one in bench.bridge._consumers if one.name == "run")
    consumer.service = consumer.service._replace(patience_ms=10_000)  # its thread may be kept waiting on a busy machine
    done = threading.Event()

    def place_slowly() -> None:
        while not done.is_set():
            run.intake.socket.poll(20)
            if isinstance(frame := run.intake.receive(), Frame):
                time.sleep(0.005)
                run.frames.append(frame)

    reconstructor = threading.Thread(target=place_slowly)
    reconstructor.start()
    try:
        send(bench, front_end, [large_frame(i) for i in range(200)])
        bench.step_until(lambda: len(run.frames) == len(record.frames) == 200)
    finally:
        done.set()
        reconstructor.join()
    assert run.sequences == record.sequences == list(range(200))
    assert bench.counts["to_run_dropped"] == 0 and not bench.faults
    assert bench.bridge and bench.bridge.status().latency_ms["hand_over"][2] > 1.0  # it did wait


def test_a_stuck_reconstructor_is_waited_for_once_then_counted(bench: BridgeBench) -> None:
    bench.open_bridge()
    run, record, front_end = bench.consume("run"), bench.consume("record"), bench.front_end()
    run.taking = False
    sent = send_until(bench, front_end, "RECONSTRUCTOR_BEHIND")
    send(bench, front_end, [large_frame(i) for i in range(sent, sent + 100)])
    bench.step_until(lambda: len(record.frames) == sent + 100)
    dropped = bench.counts["to_run_dropped"]
    run.taking = True
    bench.step_until(lambda: len(run.frames) == sent + 100 - dropped)
    send(bench, front_end, [large_frame(i) for i in range(sent + 100, sent + 110)])
    bench.step_until(lambda: len(run.frames) == sent + 110 - dropped and len(record.frames) == sent + 110)
    assert record.sequences == list(range(sent + 110))
    assert dropped >= 100 and set(bench.fault_names) == {"RECONSTRUCTOR_BEHIND"}
    assert len(bench.faults) < 10  # told once a second, not once a frame


def test_malformed_messages_are_counted_and_do_not_stop_the_good_ones(bench: BridgeBench) -> None:
    bench.open_bridge()
    run, _, front_end = bench.consume("run"), bench.consume("record"), bench.front_end()
    send(bench, front_end, [linear_frame(0)])
    for _ in range(50):
        bench.step_until(lambda: bool(front_end.send_parts([b"noise", b"", b"x" * 100], patience_s=0)))
    send(bench, front_end, [linear_frame(1)])
    bench.step_until(lambda: len(run.frames) == 2 and sum(int(fault.detail.split()[0]) for fault in bench.faults) == 50)
    assert bench.counts["malformed"] == 50
    assert set(bench.fault_names) == {"MALFORMED_FRAMES"} and len(bench.faults) <= 3
    assert "BadSize" in bench.faults[-1].detail or "BadMagic" in bench.faults[-1].detail


def test_a_message_too_large_is_not_taken_and_the_link_recovers(bench: BridgeBench) -> None:
    bench.open_bridge(largest_message_mib=1)
    run, front_end = bench.consume("run"), bench.front_end()
    front_end.send_parts([bytes(2 << 20)])
    bench.step_for(0.2)
    sequences = itertools.count()  # what it sends until it has noticed that we hung up goes with the old connection

    def arrived() -> bool:
        front_end.send(linear_frame(next(sequences)), patience_s=0)
        return bool(run.frames)

    bench.step_until(arrived)
    assert bench.counts["malformed"] == 0


def test_lost_frames_are_counted(bench: BridgeBench) -> None:
    bench.open_bridge()
    run = bench.consume("run")
    send(bench, bench.front_end(), [linear_frame(i) for i in (0, 1, 4, 5, 9)])
    bench.step_until(lambda: len(run.frames) == 5)
    assert bench.counts["lost"] == bench.counts["lost_in_sweep"] == 5


def test_losses_of_an_operators_sweep_are_those_between_its_first_and_its_last_image(bench: BridgeBench) -> None:
    bench.open_bridge(sweeps="operator")
    assert bench.bridge

    def take(*sequences: int) -> tuple[int, int]:
        for sequence in sequences:
            assert bench.bridge and bench.bridge.take(encode_frame(linear_frame(sequence)), time.monotonic_ns())
        return bench.counts["lost"], bench.counts["lost_in_sweep"]

    assert take(10, 14) == (3, 0), "no sweep runs"
    bench.bridge._sweeps.start()
    assert take(15, 16, 18, 19) == (4, 1)
    bench.bridge._sweeps.stop(time.monotonic_ns())
    assert take(20, 31) == (14, 1)
    bench.bridge._sweeps.start()
    assert take(32, 33) == (14, 0)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_restarted_bridge_finds_its_front_end_and_consumers_again(bench: BridgeBench, transport: str) -> None:
    bench.open_bridge(transport=transport)
    run, record, front_end = bench.consume("run"), bench.consume("record"), bench.front_end()
    send(bench, front_end, [linear_frame(i) for i in range(5)])
    bench.step_until(lambda: len(record.frames) == 5)
    bench.stop_bridge()
    bench.open_bridge(transport=transport, settle_s=10.0)
    for i in range(5, 500):  # the first of them may be lost with the old connection
        send(bench, front_end, [linear_frame(i)])
        if len(record.frames) > 15:
            break
    bench.step_until(lambda: bool(run.frames) and run.sequences[-1] == record.sequences[-1] == i)
    resumed = record.sequences[5:]
    assert resumed == list(range(resumed[0], i + 1))
    missed = [sequence for sequence in resumed if sequence not in run.sequences]  # a burst at once, and this thread takes for both
    assert len(missed) == bench.counts["to_run_dropped"] and run.sequences == [n for n in record.sequences if n not in missed]
    assert bench.counts["to_record_dropped"] == 0 and set(bench.fault_names) <= {"RECONSTRUCTOR_BEHIND"}


def test_a_started_bridge_waits_for_its_consumers(bench: BridgeBench) -> None:
    bench.open_bridge(settle_s=10.0)
    front_end = bench.front_end()
    for i in range(3):
        front_end.send(linear_frame(i))
    bench.step_for(0.2)
    assert bench.counts["received"] == 0
    run, record = bench.consume("run"), bench.consume("record")
    bench.step_until(lambda: len(run.frames) == len(record.frames) == 3)
    assert not bench.faults


def test_what_had_come_before_the_stop_is_handed_on(bench: BridgeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.open_bridge()
    run, record, front_end = bench.consume("run"), bench.consume("record"), bench.front_end()
    send(bench, front_end, [linear_frame(0)])
    bench.step_until(lambda: len(record.frames) == 1)
    for i in range(1, 6):
        front_end.send(linear_frame(i))
    assert bench.bridge
    come, intake = [], bench.bridge._intake
    while len(come) < 5:
        assert intake.socket.poll(20_000)
        come.append(intake.receive())
    with monkeypatch.context() as patched:
        patched.setattr(intake, "receive", lambda: come.pop(0) if come else None)
        bench.stop_bridge()
    bench.step_until(lambda: len(run.frames) == len(record.frames) == 6)


def test_a_stopped_bridge_leaves_no_socket_behind(bench: BridgeBench) -> None:
    bench.open_bridge()
    assert list(bench.folder.glob("*.ipc"))
    bench.stop_bridge()
    assert not list(bench.folder.glob("*.ipc"))


def test_a_flood_of_noise_does_not_starve_the_status(bench: BridgeBench) -> None:
    bench.open_bridge()
    assert bench.bridge
    parts = encode_frame(linear_frame(0))
    begun = time.monotonic_ns()
    for i in range(2000):
        bench.bridge.take([parts[0], parts[1], bytes([i % 256]) * len(parts[2])], begun)
    bench.step_until(lambda: bool(bench.faults))
    assert bench.counts["malformed"] == 2000 and len(bench.faults) == 1
