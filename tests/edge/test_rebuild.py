"""The same recording in the other direction: the volume's mirror image, by the live service, while it stays alive."""

import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from heart_frames import a_frame
from run_bench import config, run_service

from edge.commands.run import open_reconstructor
from edge.files import open_sweep
from edge.files.names import sweep_id
from edge.files.recording import write_recording
from edge.files.volumes import read_volume
from edge.messages import Answer, Bricks, FaultRaised, Status, SweepEnded
from edge.rebuild import Rebuild, RecordingShort
from edge.saving import next_volume
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep
from edge.tablet.library import Library


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rebuild")
    settings = SimulationSettings(frames=40, frames_per_s=30.0, image_size=(96, 80), spacing_mm=(0.4, 0.4), speckle=False)
    write_simulated_sweep(folder / "sweep.igs.mha", simulate_sweep(settings))
    write_recording(folder / "sweep.mcap", open_sweep(folder / "sweep.igs.mha").frames(), {"sweep": "0"})
    return folder / "sweep.mcap"


def volume_of(recording, direction):
    with tempfile.TemporaryDirectory() as folder:
        reconstructor = open_reconstructor(config(folder))
        with reconstructor.compounder:
            rebuild = Rebuild(reconstructor, recording, direction, "operator")
            done = False
            while not done:
                _, done = rebuild.piece()
            assert rebuild.done == rebuild.total == 40
            return reconstructor.volumes()["ultrasound"]


def test_the_other_direction_is_the_mirror_image(recording):
    plus, minus = (volume_of(recording, direction) for direction in "+-")
    assert (plus.metadata["direction"], minus.metadata["direction"], minus.metadata["direction_source"]) == ("+", "-", "operator")
    first, last = plus.origin_mm[2], plus.origin_mm[2] + 0.8 * (plus.intensity.shape[0] - 1)
    assert first == pytest.approx(0) and last > 10
    turned = minus.intensity[::-1]
    offset = round((-(minus.origin_mm[2] + 0.8 * (minus.intensity.shape[0] - 1)) - first) / 0.8)
    depth = min(turned.shape[0] - max(-offset, 0), plus.intensity.shape[0] - max(offset, 0))
    ours, theirs = plus.intensity[max(offset, 0) :][:depth], turned[max(-offset, 0) :][:depth]
    assert depth > 12 and np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
    assert np.corrcoef(ours.ravel(), theirs[::-1].ravel())[0, 1] < 0.99


@pytest.fixture
def bench(tmp_path):
    with run_service(tmp_path / "volumes") as bench:
        yield bench


def test_the_service_rebuilds_at_the_tablets_word_and_saves_the_result(bench, recording, tmp_path):
    assert bench.asks(action="rebuild", direction="-", direction_source="operator", path=str(recording)) in ("", "SWEEP_RUNS")
    ended = bench.until(SweepEnded, lambda m: m.files)
    assert (ended.direction, ended.direction_source, ended.placed) == ("-", "operator", 40)
    volume = next(Path(file) for file in ended.files if "-state" not in file)
    assert read_volume(volume).metadata["direction"] == "-"
    assert bench.until(Status, lambda m: m.state == "idle" and m.counts["frames"] == 0)
    assert len({m.epoch for m in bench.heard if isinstance(m, Bricks)}) == 1
    assert bench.service._reconstructor.direction_source == "unverified", "the next sweep is aimed as before"


@pytest.mark.parametrize("flips", [1, 2, 3, 4])
def test_after_any_number_of_flips_the_volume_is_the_one_that_was_asked_for_last(bench, recording, tmp_path, flips):
    library = Library(tmp_path / "recordings", tmp_path / "volumes")
    for flip in range(flips):
        direction = "-+"[flip % 2]
        bench.heard.clear()
        assert bench.asks(action="rebuild", direction=direction, direction_source="operator", path=str(recording), frames=40) in (
            "",
            "SWEEP_RUNS",
        )
        ended = bench.until(SweepEnded)
        sweep = sweep_id(ended.boot_id, ended.sweep)
        assert ended.rebuilt and set(map(Path, ended.files)) >= set(library.volume_files(sweep)) != set()
        library.forget_but(sweep, ended.files)
        bench.until(Status, lambda m: m.state == "idle")
    (volume,) = library.volume_files(sweep)
    assert read_volume(volume).metadata["direction"] == direction
    assert {path.name for path in library.files(sweep)} == {Path(file).name for file in ended.files}


def test_a_recording_with_fewer_images_than_the_volume_does_not_take_its_place(bench, recording, tmp_path):
    bench.asks(action="rebuild", direction="-", direction_source="operator", path=str(recording), frames=41)
    fault = bench.until(FaultRaised, lambda m: m.name == "REBUILD_FAILED")
    assert "40 of 41 images" in fault.detail
    bench.until(Status, lambda m: m.state == "idle")
    assert not list(tmp_path.glob("volumes/*")) and not [m for m in bench.heard if isinstance(m, SweepEnded)]


@pytest.mark.parametrize(("missing", "kept"), [({20}, True), (set(range(20, 30)), False)])
def test_lost_images_that_are_bridged_do_not_hinder_a_rebuild_but_a_hole_does(recording, tmp_path, missing, kept):
    frames = [frame for frame in open_sweep(recording).frames() if frame.sequence not in missing]
    write_recording(tmp_path / "holes.mcap", frames, {"sweep": "0"})
    reconstructor = open_reconstructor(config(tmp_path))
    with reconstructor.compounder:
        rebuild, done = Rebuild(reconstructor, tmp_path / "holes.mcap", "-", "operator", frames=40), False
        with contextlib.nullcontext() if kept else pytest.raises(RecordingShort, match=r"20 of 40 images \(FRAMES_LOST\)"):
            while not done:
                said, done = rebuild.piece()
            assert [(m.placed, m.lost) for m in said if isinstance(m, SweepEnded)] == [(39, 1)]


def test_a_volume_gets_a_number_above_all_others_also_those_in_the_trash_or_on_their_way(tmp_path):
    assert next_volume(tmp_path / "none", "sweep_a_0001", []).name == "sweep_a_0001_0.nrrd"
    (tmp_path / "trash").mkdir()
    for name in (
        "sweep_a_0001_0.mcap",
        "sweep_a_0001_12-view.png",
        "sweep_a_0002_30.nrrd",
        "sweep_a_0001_2-state.nrrd",
        "trash/sweep_a_0001_9.nrrd",
    ):
        (tmp_path / name).touch()
    assert next_volume(tmp_path, "sweep_a_0001", []) == tmp_path / "sweep_a_0001_10.nrrd"
    assert next_volume(tmp_path, "sweep_a_0001", [tmp_path / "sweep_a_0001_10.nrrd"]).name == "sweep_a_0001_11.nrrd"


def test_what_cannot_be_rebuilt_is_refused_by_name(bench, tmp_path):
    assert bench.asks(action="rebuild", direction="-", path=str(tmp_path / "nowhere.mcap")) == "REBUILD_FAILED"
    assert bench.asks(action="start") == "UNKNOWN_COMMAND"
    assert bench.asks(action="aim", direction="-", direction_source="preset") == ""
    assert (bench.service._reconstructor.direction, bench.service._reconstructor.direction_source) == ("-", "preset")


def test_a_new_sweep_has_precedence_over_a_rebuild(bench, recording, monkeypatch):
    monkeypatch.setattr("edge.rebuild.PIECE_S", 0.0)  # it never gets on
    frames = iter(open_sweep(recording).frames())
    bench.asks(action="rebuild", direction="-", direction_source="operator", path=str(recording))
    assert bench.until(Status, lambda m: m.state == "rebuilding").counts["to_rebuild"] == 40
    bench.frames.offer(next(frames), 1000)
    fault = bench.until(FaultRaised, lambda m: m.name == "REBUILD_FAILED")
    assert "a new sweep began" in fault.detail


def broken_sweep(bench):
    """A live sweep that has ended for its losses, of which the front end sends the rest."""
    for n in (0, 1, 9):
        bench.frames.offer(a_frame(n), 1000)
    bench.until(SweepEnded, lambda m: m.reason == "FRAMES_LOST" and m.files)
    bench.heard.clear()
    return iter(range(10, 1000))


def test_the_rest_of_a_broken_sweep_is_no_second_volume_though_the_next_is_aimed_meanwhile(bench):
    rest = broken_sweep(bench)
    assert bench.asks(action="aim", direction="-", direction_source="preset") == ""
    assert faults_until_the_next_sweep(bench, rest) == []


def test_the_rest_of_a_broken_sweep_neither_ends_a_rebuild_nor_is_a_volume_after_it(bench, recording, monkeypatch):
    rest = broken_sweep(bench)
    monkeypatch.setattr("edge.rebuild.PIECE_FRAMES", 1)
    assert bench.asks(action="rebuild", direction="-", direction_source="operator", path=str(recording)) == ""
    bench.until(SweepEnded, lambda m: bench.frames.offer(a_frame(next(rest))) and m.rebuilt)
    bench.until(Status, lambda m: m.state == "idle")
    assert faults_until_the_next_sweep(bench, rest) == ["DIRECTION_UNVERIFIED"]


def faults_until_the_next_sweep(bench, rest):
    bench.frames.offer(a_frame(next(rest)), 1000)
    bench.frames.offer(a_frame(0, sweep=2), 1000)
    bench.until(Status, lambda m: m.state == "sweeping")
    return [m.name for m in bench.heard if isinstance(m, FaultRaised)]


def test_a_rebuild_waits_for_who_shows_it_and_for_nobody_who_does_not(bench, recording, monkeypatch):
    monkeypatch.setattr("edge.run.POSES_AHEAD", 10)
    monkeypatch.setattr("edge.rebuild.PIECE_FRAMES", 2)

    def showing(heard):
        bench.tablet.say(Status(service="tablet", state="serving", counts={"poses_heard": heard}))

    deadline = time.monotonic() + 5
    while not bench.service._peers.alive("tablet") and time.monotonic() < deadline:
        showing(0)
        bench.service.step()
    bench.asks(action="rebuild", direction="-", direction_source="operator", path=str(recording))

    def done(heard, least):
        deadline, after = time.monotonic() + 20, 10
        while after > 0:
            assert time.monotonic() < deadline, bench.service._rebuild.done
            showing(heard)
            bench.service.step()
            after -= bench.service._rebuild.done >= least
        return bench.service._rebuild.done

    assert done(0, 11) <= 12, "it ran away from the tablet"
    assert done(8, 19) <= 20
    ended = bench.until(SweepEnded)  # the tablet has fallen silent: nobody is waited for
    assert ended.placed == 40 and bench.until(Status, lambda m: m.ended is not None).ended == ended


def test_who_has_the_answer_to_a_rebuild_knows_that_it_runs_and_who_has_its_end_that_it_does_not(bench, recording):
    bench.asks(action="rebuild", direction="-", direction_source="operator", path=str(recording))
    answered = next(i for i, m in enumerate(bench.heard) if isinstance(m, Answer))
    assert [m.state for m in bench.heard[:answered] if isinstance(m, Status)][-1] == "rebuilding"
    ended = bench.until(SweepEnded)
    bench.until(Status, lambda m: m.ended == ended)
    first = next(m for m in bench.heard[bench.heard.index(ended) :] if isinstance(m, Status))
    assert (first.state, first.counts["saving"]) == ("idle", 0)
