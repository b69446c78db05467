"""``sonosweep info``: every readable file is described, everything else is refused by name."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_frames import frame

from edge.commands import info
from edge.files import UnknownFile, UnsupportedFile, write_sweep
from edge.files.recording import RecordingWriter
from edge.files.volumes import Volume, write_volume

DATA = Path(__file__).parents[3] / "shared" / "data"
LEG = DATA / "leg" / "leg_0318_0509.igs.mha"
SPINE = DATA / "plus" / "SpinePhantomFreehand.igs.mha"
CONFIG = DATA / "plus" / "PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml"
real = pytest.mark.skipif(not LEG.exists() or not SPINE.exists(), reason="the real sweeps are not beside the repository (../shared/data)")


def tracked(sequence, z_mm):
    pose = np.diag([0.1, 0.2, 1.0, 1.0])
    pose[2, 3] = z_mm
    return frame(sequence, image_to_reference=tuple(pose.ravel().tolist()))


def test_a_sweep_with_its_path_and_its_losses(tmp_path):
    frames = [tracked(0, 0.0), tracked(1, -0.5), frame(4, pose_status="invalid"), tracked(5, -2.0)]
    write_sweep(tmp_path / "a.igs.mha", frames)
    said = info.describe(tmp_path / "a.igs.mha")
    assert (said["kind"], said["frames"], said["frames_lost"], said["columns_rows"]) == ("sweep", 4, 2, [24, 16])
    assert said["path_mm"] == pytest.approx(2.0) and said["mean_elevational_step_mm"] == pytest.approx(-1.0)
    assert said["poses"] == {"ok": 3, "invalid": 1, "missing": 0} and said["duration_s"] == pytest.approx(0.25, abs=1e-6)


def test_a_cut_recording_says_that_it_was_cut_and_which_sweeps_are_in_it(tmp_path):
    writer = RecordingWriter(tmp_path / "a.mcap", {"sweep": "3"})
    for one in (frame(0), frame(1), frame(0, sweep=4)):
        writer.append(one)
    writer.sync()
    writer.abandon()
    said = info.describe(tmp_path / "a.mcap")
    assert (said["finished"], said["end_reason"], said["frames"]) == (False, "cut", 3)
    assert [s["frames"] for s in said["sweeps"]] == [2, 1] and said["format"] == "recording of sonosweep"


def test_an_empty_recording_is_described_and_not_an_error(tmp_path):
    RecordingWriter(tmp_path / "a.mcap", {"sweep": "3"}).finish("stopped")
    said = info.describe(tmp_path / "a.mcap")
    assert (said["frames"], said["finished"], said["spacing_mm"]) == (0, True, None) and "no whole frame" in said["cure"]


def test_it_says_whether_poses_were_tracked(tmp_path):
    write_sweep(tmp_path / "a.igs.mha", [frame(0), frame(1)])
    write_sweep(
        tmp_path / "b.igs.mha", [frame(0)], poses={0: frame(1).pose}, pose_source="constant", direction="-", direction_source="preset"
    )
    said = [info.describe(tmp_path / name) for name in ("a.igs.mha", "b.igs.mha")]
    keys = ("pose_source", "direction", "direction_source")
    assert [[one[key] for key in keys] for one in said] == [["tracked"] * 3, ["constant", "-", "preset"]]
    assert "estimated" in said[1]["notes"][0]


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz"])
def test_a_volume(tmp_path, ending):
    made = Volume(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), (1.0, 2.0, 3.0), 0.5, {"motion": "recorded"})
    write_volume(tmp_path / f"a{ending}", made)
    said = info.describe(tmp_path / f"a{ending}")
    assert (said["kind"], said["voxels"], said["size_mm"], said["origin_mm"]) == ("volume", [4, 3, 2], [2.0, 1.5, 1.0], [1.0, 2.0, 3.0])
    assert said["values"] == [0, 23] and said["metadata"]["motion"] == "recorded"


def test_the_command_answers_one_json_document_or_text(tmp_path, capsys):
    write_sweep(tmp_path / "a.igs.mha", [frame(0), frame(1)])
    parser = argparse.ArgumentParser()
    info.add_arguments(parser)
    assert info.run(parser.parse_args([str(tmp_path / "a.igs.mha"), "--json"])) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 2
    assert info.run(parser.parse_args([str(tmp_path / "a.igs.mha")])) == 0
    assert "frames  2" in capsys.readouterr().out


def test_what_cannot_be_read_is_refused_with_a_list_of_what_can(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UnknownFile, match=r"\.igs\.mha.*\.mcap.*volumes \(\.nrrd"):
        info.describe(tmp_path / "a.txt")
    with pytest.raises(UnknownFile, match="No such file"):
        info.describe(tmp_path / "b.nrrd")
    with pytest.raises(UnknownFile, match="Is a directory"):
        info.describe(tmp_path)
    (tmp_path / "c.mha").write_text("ObjectType = Image\nDimSize = 2 2\nElementDataFile = other.raw\n")
    with pytest.raises(UnsupportedFile, match="another file"):
        info.describe(tmp_path / "c.mha")


@real
def test_the_leg_sweep_is_described_as_its_readme_says():
    said = info.describe(LEG)
    assert (
        said["frames"] == 192
        and said["path_mm"] == pytest.approx(139, abs=1)
        and said["mean_elevational_step_mm"] == pytest.approx(0.53, abs=0.01)
    )


@real
def test_a_sweep_without_spacing_is_described_with_the_cure():
    said = info.describe(SPINE)
    assert said["spacing_mm"] is None and "--plus-config" in said["cure"] and said["frames"] == 21
    assert info.describe(SPINE, CONFIG)["poses"]["ok"] == 21
