"""An anonymous object shares no identifier with the named objects of the same sweep, and says of the device what many say."""

import pytest
from dicom_cases import FACTS, ORIGIN, exam, phantom, verify
from synthetic_frames import frame

from edge.config import DicomConfig
from edge.dicom.clips import ultrasound_clip
from edge.dicom.copies import plain_copy
from edge.dicom.objects import write_object
from edge.dicom.volumes import photoacoustic_image, ultrasound_volume

CONFIG = DicomConfig(serial="SN-4711", institution="Clinic")


def identifiers(ds):
    return {str(one.value) for one in ds.iterall() if one.VR == "UI" and str(one.value).startswith("2.25.")}


@pytest.mark.parametrize(
    "made",
    [
        lambda whose: ultrasound_volume(phantom(), whose, ORIGIN, FACTS, CONFIG),
        lambda whose: photoacoustic_image(phantom(), whose, ORIGIN, FACTS, CONFIG),
        lambda whose: plain_copy(phantom(), whose, ORIGIN, CONFIG),
        lambda whose: ultrasound_clip(map(frame, range(3)), whose, FACTS, CONFIG),
    ],
)
def test_no_uid_leads_from_an_anonymous_object_to_a_named_one(made, tmp_path):
    named, anonymous = made(exam()), made(exam(anonymous=True))
    assert not identifiers(named) & identifiers(anonymous)
    assert identifiers(anonymous) == identifiers(made(exam(anonymous=True)))
    assert (named.DeviceSerialNumber, anonymous.DeviceSerialNumber) == ("SN-4711", "unknown")
    assert "SN-4711" not in str(anonymous)
    if anonymous.Modality == "US":  # dciodvfy does not know the Photoacoustic Image
        assert not verify(write_object(tmp_path / "a.dcm", anonymous))


def test_anonymous_objects_of_a_sweep_lie_in_one_frame_of_reference():
    whose = exam(anonymous=True)
    objects = [
        ultrasound_volume(phantom(), whose, ORIGIN, FACTS, CONFIG),
        plain_copy(phantom(), whose, ORIGIN, CONFIG),
        ultrasound_clip(map(frame, range(3)), whose, FACTS, CONFIG),
    ]
    assert len({ds.FrameOfReferenceUID for ds in objects}) == 1
