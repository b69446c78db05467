"""Recordings: wherever the power goes, everything up to the last sync is read back and the file can be finished."""

import errno
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from synthetic_frames import frame, rich_extras, same

from edge.files import MalformedFile, UnsupportedFile, open_sweep
from edge.files import recording as recording_module
from edge.files.recording import RecordingFailed, RecordingWriter, pack_parts, unpack_parts
from edge.files.recovery import interrupted, is_finished, recover, recover_all, survey
from edge.messages import FaultRaised, Geometry

TINY = Geometry(width=4, height=3, spacing_mm=(0.1, 0.1))
PER_SYNC = 3
FRAMES = [frame(i, geometry=TINY, last=i == 11) for i in range(12)]


def record(path, frames=FRAMES, *, per_sync=PER_SYNC, end="last"):
    """Write a recording with a sync after every few frames; answers the file's length after each sync."""
    writer = RecordingWriter(path, {"boot_id": "1", "sweep": "3"})
    borders = [path.stat().st_size]
    for count, one in enumerate(frames, 1):
        writer.append(one)
        if count % per_sync == 0:
            writer.sync()
            assert writer.synced_frames == count
            borders.append(path.stat().st_size)
    if end:
        writer.finish(end)
    else:
        writer.abandon()
    return borders


def test_a_recording_rereads_as_the_frames_that_came_in(tmp_path):
    frames = [
        frame(0, extras=rich_extras()),
        frame(1, pixels=np.arange(384, dtype="<u2").reshape(16, 24)),
        frame(2**33, timestamp_ns=-5, last=True),
    ]
    record(tmp_path / "a.mcap", frames)
    sweep = open_sweep(tmp_path / "a.mcap")
    for _ in range(2):
        read = list(sweep.frames())
        assert len(read) == 3 and all(same(a, b) for a, b in zip(frames, read, strict=True))
    assert all(f.pixels.flags.aligned and not f.pixels.flags.writeable for f in read)
    assert (sweep.frame_count, sweep.has_poses, sweep.geometry, sweep.kind) == (3, True, frames[0].geometry, "mcap")
    assert sweep.description["end_reason"] == "last" and sweep.description["finished"]


def test_other_messages_are_kept_beside_the_frames(tmp_path):
    writer = RecordingWriter(tmp_path / "a.mcap", {})
    writer.append(FaultRaised(service="bridge", name="FRAMES_LOST"))
    writer.append(FRAMES[0])
    writer.finish("last")
    sweep = open_sweep(tmp_path / "a.mcap")
    assert sweep.frame_count == 1 and len(list(sweep.frames())) == 1


def test_the_mcap_packages_own_reader_agrees(tmp_path):
    from mcap.reader import make_reader

    record(tmp_path / "a.mcap")
    with (tmp_path / "a.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        found = [(channel.topic, message.sequence, message.log_time) for _, channel, message in reader.iter_messages()]
        assert reader.get_summary().statistics.chunk_count == 4
    assert found == [("frame", f.sequence, f.received_ns) for f in FRAMES]


def test_a_cut_at_any_byte_keeps_every_whole_chunk(tmp_path):
    whole, cut = tmp_path / "whole.mcap", tmp_path / "cut.mcap"
    borders = record(whole)
    data = whole.read_bytes()
    for at in range(len(data)):
        cut.write_bytes(data[:at])
        safe = PER_SYNC * (sum(border <= at for border in borders) - 1)
        kept = list(open_sweep(cut, plus_config=None).frames())
        assert len(kept) >= safe, f"cut at {at}"
        assert all(same(a, b) for a, b in zip(FRAMES, kept, strict=False)) and len(kept) % PER_SYNC == 0
        if at % 29 and min(abs(at - border) for border in borders) > 2:
            continue  # finishing waits for the disk; reading is tried at every byte
        done = recover(cut)
        assert done.cut and done.frames == len(kept) and is_finished(cut)
        again = list(open_sweep(cut).frames())
        assert len(again) == len(kept) and all(same(a, b) for a, b in zip(FRAMES, again, strict=False))
        assert not recover(cut).cut
    assert not list(tmp_path.glob(".*"))


def test_random_cuts_of_a_large_recording(tmp_path):
    frames = [frame(i, geometry=Geometry(width=640, height=480, spacing_mm=(0.1, 0.1))) for i in range(24)]
    whole, cut = tmp_path / "whole.mcap", tmp_path / "cut.mcap"
    borders = record(whole, frames, per_sync=4)
    data = whole.read_bytes()
    noise = np.random.default_rng(3)
    near = [border + step for border in borders for step in (-1, 0, 1) if border + step <= len(data)]
    for at in [*near, *noise.integers(0, len(data), 40).tolist()]:
        cut.write_bytes(data[:at])
        safe = 4 * (sum(border <= at for border in borders) - 1)
        done = recover(cut)
        assert safe <= done.frames <= safe + 4
        assert [f.sequence for f in open_sweep(cut).frames()] == list(range(done.frames))


@pytest.mark.parametrize(
    "garbage", [b"\0" * 5000, b"\xff" * 5000, bytes(range(256)) * 20, b"\x06" + (100).to_bytes(8, "little") + b"x" * 4000]
)
@pytest.mark.parametrize("end", ["last", ""])
def test_garbage_after_the_last_sync_is_left_out(tmp_path, garbage, end):
    path = tmp_path / "a.mcap"
    record(path, end=end)
    with path.open("ab") as file:
        file.write(garbage)
    assert not is_finished(path)
    assert len(list(open_sweep(path).frames())) == 12
    assert recover(path).frames == 12 and survey(path).metadata["sweep_end"]["reason"] == (end or "cut")


def test_a_damaged_chunk_in_the_middle_is_left_out_and_counted(tmp_path):
    path = tmp_path / "a.mcap"
    borders = record(path)
    data = bytearray(path.read_bytes())
    data[borders[2] - 200] ^= 1  # within the pixels of frames 3 to 5, or their index
    data[(borders[1] + borders[2]) // 2] ^= 1
    path.write_bytes(data)
    assert [f.sequence for f in open_sweep(path).frames()] == [0, 1, 2, 6, 7, 8, 9, 10, 11]
    sweep = open_sweep(path)
    assert (sweep.frame_count, sweep.scan.frames, sweep.description["damaged_chunks"]) == (None, 9, 1)
    assert "1 chunk is damaged; its 3 frames are left out" in sweep.description["notes"][0]


def no_second_names(source, target):
    """As exFAT."""
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize(("places", "second_names"), [((1,), True), ((1, 2), False)])
def test_recovery_deletes_no_damaged_chunk_and_says_that_there_was_one(tmp_path, monkeypatch, places, second_names):
    path, aside = tmp_path / "sweep_1_1_0.mcap", tmp_path / "sweep_1_1_0.mcap.damaged"
    if not second_names:
        monkeypatch.setattr(os, "link", no_second_names)
    borders = record(path, end="")
    data = bytearray(path.read_bytes())
    for place in places:
        data[(borders[place] + borders[place + 1]) // 2] ^= 1
    path.write_bytes(data)
    aside.write_bytes(b"of a recovery that was cut off")
    (done,), failed = recover_all(interrupted(tmp_path))
    assert not failed and (done.frames, done.damaged_chunks) == (12 - 3 * len(places), len(places))
    assert done.lost_bytes > 100 * len(places)
    assert aside.read_bytes() == data, "as it was, for whoever can mend it"
    told = survey(path).metadata["recovery"]
    assert told == {"bytes_lost": str(done.lost_bytes), "damaged_chunks": str(len(places)), "kept_aside": aside.name}
    assert "left out when it was recovered" in open_sweep(path).description["notes"][0]
    assert interrupted(tmp_path) == [] and len(os.listdir(tmp_path)) == 2


def test_a_recovery_that_cannot_keep_the_damaged_file_changes_nothing(tmp_path, monkeypatch):
    borders, path = record(tmp_path / "sweep_1_1_0.mcap", end=""), tmp_path / "sweep_1_1_0.mcap"
    data = bytearray(path.read_bytes())
    data[(borders[1] + borders[2]) // 2] ^= 1
    path.write_bytes(data)

    def full(source, target, length=0):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", no_second_names)
    monkeypatch.setattr("shutil.copyfileobj", full)
    done, (failed,) = recover_all([path])
    assert not done and "free some space" in failed and os.listdir(tmp_path) == [path.name] and path.read_bytes() == data


def test_a_recording_cut_within_is_kept_aside_where_much_would_go(tmp_path, monkeypatch):
    path = tmp_path / "a.mcap"
    borders = record(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x06", borders[0])
    data[at + 6] = 1  # the length of the second chunk: nothing behind it can be found
    path.write_bytes(data[:-1])
    before = path.read_bytes()
    monkeypatch.setattr("edge.files.recovery.LARGEST_TAIL", 100)
    assert recover(path).damaged_chunks == 0 and path.with_name("a.mcap.damaged").read_bytes() == before
    assert "(a.mcap.damaged)" in open_sweep(path).description["notes"][0]


def test_a_recording_with_any_byte_changed_is_read_or_refused_by_name(tmp_path):
    whole, changed = tmp_path / "whole.mcap", tmp_path / "changed.mcap"
    record(whole, FRAMES[:4], per_sync=2)
    data, noise = whole.read_bytes(), np.random.default_rng(5)
    for at in range(len(data)):
        mutant = bytearray(data)
        mutant[at] ^= int(noise.integers(1, 256))
        changed.write_bytes(mutant)
        try:
            read = list(open_sweep(changed).frames())
            recover(changed)
        except (MalformedFile, UnsupportedFile):
            continue
        assert all(same(FRAMES[f.sequence], f) for f in read), f"byte {at} changed a frame without notice"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_range": (5.0, 5.0)}, "must rise"),
        ({"sample_range": (0.0, 256.0)}, "must rise"),
        ({"geometry": Geometry(width=4000, height=16, spacing_mm=(0.1, 0.2))}, "not the pixels"),
        ({"geometry": Geometry(width=24, height=16, spacing_mm=(0.0, 0.2))}, "spacing"),
        ({"image_to_reference": (1.0, 2.0)}, "16 numbers"),
    ],
)
def test_a_recorded_frame_that_contradicts_itself_is_refused_by_name(tmp_path, change, message):
    writer = RecordingWriter(tmp_path / "a.mcap", {})
    writer.append(frame(0, **{"pixels": frame(0).pixels, **change}))
    writer.finish("last")
    with pytest.raises(MalformedFile, match=message):
        open_sweep(tmp_path / "a.mcap")


def test_an_mcap_file_of_somebody_else_is_refused_by_name(tmp_path):
    from mcap.writer import Writer

    path = tmp_path / "sweep_other.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros2")
        writer.finish()
    with pytest.raises(UnsupportedFile, match="not a recording of sonosweep"):
        open_sweep(path)


def test_the_old_file_stays_until_the_new_one_is_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "sweep_1_1_0.mcap"
    record(path, end="")
    before = path.read_bytes()

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recording_module._Output, "write", full)
    done, failed = recover_all(interrupted(tmp_path))
    assert not done and "free some space" in failed[0]
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]
    monkeypatch.undo()
    done, failed = recover_all(interrupted(tmp_path))
    assert [d.frames for d in done] == [12] and not failed


def test_a_folder_is_recovered_but_never_a_recording_that_is_being_written(tmp_path):
    record(tmp_path / "sweep_1_1_0.mcap")
    record(tmp_path / "sweep_1_2_0.mcap", end="")
    (tmp_path / "sweep_1_3_0.mcap").write_bytes(b"")
    (tmp_path / "sweep_1_4_0.mcap").write_bytes(b"something else entirely")
    live = RecordingWriter(tmp_path / "sweep_1_5_0.mcap", {})
    live.append(FRAMES[0])
    live.sync()
    done, failed = recover_all(interrupted(tmp_path))
    assert [(d.path.name, d.frames) for d in done] == [("sweep_1_2_0.mcap", 12), ("sweep_1_3_0.mcap", 0)]
    assert len(failed) == 1 and "sweep_1_4_0" in failed[0]
    live.append(FRAMES[1])
    live.finish("last")
    assert len(list(open_sweep(live.path).frames())) == 2


def test_a_full_disk_keeps_what_was_synced(tmp_path, monkeypatch):
    path = tmp_path / "a.mcap"
    writer = RecordingWriter(path, {})
    for one in FRAMES[:4]:
        writer.append(one)
    writer.sync()
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]) if len(data) > 10 and not path.stat().st_size % 7 else full())

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    writer.append(FRAMES[4])
    with pytest.raises(RecordingFailed, match="free some space") as raised:
        writer.sync()
    assert raised.value.full
    monkeypatch.undo()
    assert len(list(open_sweep(path).frames())) == 4 and recover(path).frames == 4


def _record_until_killed(path, synced):
    writer = RecordingWriter(path, {})
    for count in range(10**6):
        writer.append(frame(count))
        if count % 5 == 4:
            writer.sync()
            synced.value = writer.synced_frames


@pytest.mark.parametrize("works", [0, 1])
def test_a_recording_that_could_not_begin_leaves_neither_file_nor_descriptor(tmp_path, monkeypatch, works):
    calls, descriptors = [], len(os.listdir("/proc/self/fd"))

    def fdatasync(descriptor):
        calls.append(descriptor)
        if len(calls) > works:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with pytest.raises(RecordingFailed, match="Input/output error") as refused:
        RecordingWriter(tmp_path / "a.mcap", {})
    assert refused and len(calls) == works + 1
    assert (os.listdir(tmp_path), len(os.listdir("/proc/self/fd"))) == ([], descriptors)


def test_a_killed_recorder_leaves_everything_that_was_synced(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    synced = spawn.Value("q", 0)
    path = Path(tmp_path / "a.mcap")
    process = spawn.Process(target=_record_until_killed, args=(path, synced))
    process.start()
    while synced.value < 50:
        process.join(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert recover(path).frames >= synced.value
    assert all(same(frame(i), f) for i, f in enumerate(open_sweep(path).frames()))


def test_parts_are_packed_and_unpacked():
    assert unpack_parts(pack_parts([b"topic", b"", b"xyz"])) == [b"topic", b"", b"xyz"]
    for wrong in (b"", b"\x01\0\0\0", b"\xff\xff\xff\xff" * 3, pack_parts([b"a"]) + b"!"):
        with pytest.raises(ValueError):
            unpack_parts(wrong)
