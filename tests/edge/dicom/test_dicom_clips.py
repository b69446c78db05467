"""A clip of any length can be read, and says when its images were taken as exactly as it can."""

import numpy as np
import pydicom
import pytest
from dicom_cases import FACTS, exam

from edge.config import DicomConfig
from edge.dicom.clips import ultrasound_clip
from edge.dicom.objects import write_object
from edge.messages import Frame, Geometry

GEOMETRY = Geometry(width=16, height=16, spacing_mm=(0.3, 0.2))


def images(count, step_ns=33_333_333):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return (Frame(boot_id=1, sweep=1, sequence=n, timestamp_ns=n * step_ns, geometry=GEOMETRY, pixels=pixels) for n in range(count))


@pytest.mark.parametrize("count", [5, 9300, 9500])
def test_a_clip_too_long_for_a_time_of_each_image_says_their_mean(tmp_path, count):
    path = write_object(tmp_path / "clip.dcm", ultrasound_clip(images(count), exam(), FACTS, DicomConfig()))
    ds = pydicom.dcmread(path)
    assert ds.NumberOfFrames == count and ds.CineRate == 30
    if count < 9400:  # 64 kB of text
        assert ds.FrameIncrementPointer == 0x00181065 and len(ds.FrameTimeVector) == count and "FrameTime" not in ds
        assert ds["FrameTimeVector"].VR == "DS" and "mean" not in ds.ImageComments
    else:
        assert ds.FrameIncrementPointer == 0x00181063 and float(ds.FrameTime) == pytest.approx(33.333333, abs=1e-5)
        assert "FrameTimeVector" not in ds and "mean" in ds.ImageComments
