"""A simulated sweep as a file and as a command: what is written reads back as the frames and poses that were simulated."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.app import main
from edge.commands import simulate
from edge.files import CannotWrite, open_sweep, write_sweep
from edge.messages import Frame
from edge.simulation import Convex, SimulationSettings, as_frames, simulate_sweep, write_simulated_sweep


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return simulate.run(parser.parse_args(words))


def test_a_written_sweep_reads_back_as_the_same_frames_and_poses(tmp_path: Path) -> None:
    sweep = simulate_sweep(SimulationSettings(frames=6, image_size=(60, 80), spacing_mm=(0.4, 0.3), photoacoustic=True))
    taken: list[int] = []
    path = tmp_path / "sweep.igs.mha"
    assert write_simulated_sweep(path, sweep, progress=lambda frames, total: taken.append(total) or frames) == 6
    assert taken == [6]
    read = list(open_sweep(path).frames())
    for frame, wanted, simulated in zip(read, as_frames(sweep), sweep, strict=True):
        assert np.array_equal(frame.pixels, simulated.pixels)
        assert frame.pose is not None and np.array_equal(frame.pose.matrix, simulated.image_to_reference.matrix)
        assert (frame.modality, frame.timestamp_ns, frame.sequence) == (wanted.modality, wanted.timestamp_ns, wanted.sequence)
        assert frame.geometry == wanted.geometry
    assert [frame.last for frame in as_frames(sweep)] == [False] * 5 + [True]


def test_polar_frames_are_refused_as_images_with_the_format_that_holds_them(tmp_path: Path) -> None:
    sweep = simulate_sweep(SimulationSettings(frames=2, image_size=(20, 30), convex=Convex()))
    with pytest.raises(CannotWrite, match=r"\.mcap"):
        write_simulated_sweep(tmp_path / "sweep.igs.mha", sweep)
    with pytest.raises(CannotWrite, match="scan-converted"):
        write_sweep(tmp_path / "sweep.igs.mha", as_frames(sweep))
    with pytest.raises(CannotWrite, match=r"\.igs\.mha or \.mcap"):
        write_simulated_sweep(tmp_path / "sweep.xyz")
    assert list(tmp_path.iterdir()) == []


def test_a_convex_sweep_is_a_recording_that_can_be_reconstructed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sweep.mcap"
    options = ("--frames", "6", "--size", "40", "60", "--spacing-mm", "0.5", "--convex", "--photoacoustic", "--truth")
    for _ in range(2):  # the second replaces the first
        assert call("-o", str(path), *options) == 0
        capsys.readouterr()
    assert [one.name for one in tmp_path.iterdir()] == ["sweep.mcap"]
    read = open_sweep(path)
    assert (read.geometry.kind, read.frame_count, read.has_poses) == ("convex", 6, True)
    assert [frame.modality for frame in read.frames()] == ["bmode", "photoacoustic"] * 3
    assert main(["reconstruct", str(path), "-o", str(tmp_path / "volume.nrrd"), "--motion", "recorded", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["placed"] == 6 and len(answer["files"]) == 4


def test_a_failed_recording_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "sweep.mcap"
    path.write_bytes(b"before")

    def failing(frames: Iterable[Frame], total: int) -> Iterator[Frame]:
        yield next(iter(frames))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_simulated_sweep(path, simulate_sweep(SimulationSettings(frames=3, image_size=(20, 30))), progress=failing)
    assert [one.name for one in tmp_path.iterdir()] == ["sweep.mcap"] and path.read_bytes() == b"before"


def test_the_command_writes_a_sweep_and_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sweep.igs.mha"
    options = ("--frames", "5", "--size", "48", "64", "--spacing-mm", "0.5", "--step-mm", "-0.5", "--seed", "3")
    assert call("-o", str(path), *options, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["frames"], answer["image_size"], answer["length_mm"]) == (5, [48, 64], 2.0)
    assert answer["bytes"] == path.stat().st_size
    last = list(open_sweep(path).frames())[-1]
    assert last.pose is not None and last.pose.apply([24, 32, 0])[2] < -1.5


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.igs.mha", "two.igs.mha"):
        call("-o", str(tmp_path / name), "--frames", "3", "--size", "40", "40")
    assert (tmp_path / "one.igs.mha").read_bytes() == (tmp_path / "two.igs.mha").read_bytes()
