"""Real tracked sweeps become volumes that show the frames again, where they were taken."""

import json
from pathlib import Path

import numpy as np
import pytest
from reslice import correlations, read

from edge.app import main
from edge.files import open_sweep

DATA = Path(__file__).parents[3] / "shared" / "data"
LEG = DATA / "leg" / "leg_0318_0509.igs.mha"
SPINE, SPINE_CONFIG = (
    DATA / "plus" / "SpinePhantomFreehand.igs.mha",
    DATA / "plus" / "PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml",
)
needs_data = pytest.mark.skipif(not LEG.exists(), reason="the real sweeps (../shared/data) are not part of a clone")


def answer_of(capsys, *words):
    status = main([str(word) for word in words])
    out = capsys.readouterr().out
    assert status == 0, out
    return json.loads(out)


@needs_data
def test_frames_resliced_out_of_the_leg_volume_are_the_frames_that_went_in(tmp_path, capsys):
    volume = tmp_path / "leg.nrrd"
    answer = answer_of(capsys, "reconstruct", LEG, "--motion", "recorded", "--spacing-mm", "0.25", "-o", volume, "--json")
    assert (answer["frames"], answer["placed"], answer["lost"]) == (192, 192, 0)
    frames = [(frame.pixels, frame.pose.matrix) for frame in open_sweep(LEG).frames()]
    found = np.concatenate([correlations(volume, frames[at : at + 3]) for at in range(0, 190, 5)])
    before, own, after = np.median(found, axis=0)
    print(f"leg, 0.25 mm: own {own:.3f}, neighbours {before:.3f} {after:.3f}")  # noqa: T201
    assert own >= 0.90
    assert own > before and own > after


@needs_data
def test_the_spine_phantom_is_placed_by_its_plus_configuration(tmp_path, capsys):
    volume = tmp_path / "spine.nrrd"
    words = ["--motion", "recorded", "--plus-config", SPINE_CONFIG, "--spacing-mm", "0.5", "-o", volume, "--json"]
    answer = answer_of(capsys, "reconstruct", SPINE, *words)
    assert (answer["frames"], answer["placed"]) == (21, 21)
    frames = [(frame.pixels, frame.pose.matrix) for frame in open_sweep(SPINE, plus_config=SPINE_CONFIG).frames()]
    found = correlations(volume, frames)
    assert np.median(found[:, 1]) > max(np.median(found[:, 0]), np.median(found[:, 2]))


@needs_data
def test_the_spine_phantom_without_its_calibration_is_refused_with_the_cure(tmp_path, capsys):
    assert main(["reconstruct", str(SPINE), "-o", str(tmp_path / "spine.nrrd")]) == 1
    assert "plus-config" in capsys.readouterr().err.lower()
    assert not list(tmp_path.iterdir())


@needs_data
def test_all_formats_hold_the_same_voxels_at_the_same_place(tmp_path, capsys):
    piece = DATA / "leg" / "leg_1014_1026.igs.mha"
    read_back = {}
    for suffix in ("nrrd", "mha", "nii.gz"):
        answer_of(capsys, "reconstruct", piece, "--motion", "recorded", "-o", tmp_path / f"leg.{suffix}", "--json")
        read_back[suffix] = read(tmp_path / f"leg.{suffix}")
    for voxels, to_voxel in read_back.values():
        assert np.array_equal(voxels, read_back["nrrd"][0])
        assert np.allclose(to_voxel, read_back["nrrd"][1], atol=1e-4)
