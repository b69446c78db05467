"""PLUS sequences: the real sweeps beside the repository."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from plus_files import matrix
from synthetic_frames import same

from edge.files import (
    NoCalibration,
    NoPhysicalSpacing,
    open_sweep,
    write_sweep,
)

DATA = Path(__file__).parents[4] / "shared" / "data"
LEG = DATA / "leg" / "leg_0318_0509.igs.mha"
SPINE = DATA / "plus" / "SpinePhantomFreehand.igs.mha"
SPINE_CONFIG = DATA / "plus" / "PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml"
SIMULATED_CONFIG = DATA / "plus" / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml"
real = pytest.mark.skipif(not LEG.exists() or not SPINE.exists(), reason="the real sweeps are not beside the repository (../shared/data)")


@real
def test_the_leg_sweep_reads_and_survives_a_round_trip(tmp_path):
    sweep = open_sweep(LEG)
    assert (sweep.frame_count, sweep.has_poses, sweep.geometry.spacing_mm) == (192, True, (0.10784, 0.10784))
    write_sweep(tmp_path / "leg.igs.mha", sweep.frames())
    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(LEG)))
    for index, (one, other) in enumerate(zip(sweep.frames(), open_sweep(tmp_path / "leg.igs.mha").frames(), strict=True)):
        assert same(one, other)
        np.testing.assert_array_equal(one.pixels, image[index])


@real
def test_the_plus_spine_sweep_is_placed_by_its_configuration():
    with pytest.raises(NoPhysicalSpacing):
        list(open_sweep(SPINE).frames())
    sweep = open_sweep(SPINE, plus_config=SPINE_CONFIG)
    read = list(sweep.frames())
    assert len(read) == 21 and all(f.pose_status == "ok" for f in read)
    assert sweep.geometry.spacing_mm == pytest.approx((0.0854, 0.0790), abs=1e-4)
    fields = sweep.frame_fields(7)
    steps = [matrix(fields[f"{t}ToTrackerTransform"]) for t in ("Reference", "Probe")]
    calibration = np.array(
        [
            [-0.00157821, 0.0785919, -0.00803285, 15.3978],
            [-0.0839128, 0.00372697, 0.0153803, 49.5705],
            [0.0159024, 0.00714276, 0.0803604, -8.63446],
        ]
    )
    np.testing.assert_allclose(
        read[7].pose.matrix[:3], (np.linalg.inv(steps[0]) @ steps[1])[:3] @ np.vstack([calibration, [0, 0, 0, 1]]), atol=1e-9
    )
    origins = np.array([f.pose.matrix[:3, 3] for f in read])
    assert 10 < np.linalg.norm(np.diff(origins, axis=0), axis=1).sum() < 200


@real
def test_a_real_configuration_without_image_to_probe_is_refused_by_name():
    with pytest.raises(NoCalibration, match="ImageToTransducerOriginPixel"):
        open_sweep(SPINE, plus_config=SIMULATED_CONFIG)
