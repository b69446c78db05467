"""Photoacoustic frames as IPASC's HDF5: complete to its own tool, PACFISH, and read back; refused by name where they are no images."""

from __future__ import annotations

import shutil

import h5py
import msgspec
import numpy as np
import pacfish
import pytest
from foreign_files import photoacoustic

from edge.app import main
from edge.files import CannotWrite, MalformedFile, open_sweep
from edge.files.ipasc import write_ipasc
from edge.files.ipasc_sweep import BadIpasc, RawSeries
from edge.messages import Extras, Frame


def test_photoacoustic_frames_are_complete_and_consistent_to_ipascs_own_tool(tmp_path):
    frames = list(photoacoustic())
    assert write_ipasc(tmp_path / "a.ipasc.h5", frames) == 6
    data = pacfish.load_data(str(tmp_path / "a.ipasc.h5"))
    checker = pacfish.ConsistencyChecker()
    assert checker.check_acquisition_meta_data(data.meta_data_acquisition) and checker.check_device_meta_data(data.meta_data_device)
    lacking = [tag.tag for tag in pacfish.MetadataAcquisitionTags.TAGS if tag.mandatory and tag.tag not in data.meta_data_acquisition]
    device, groups = data.meta_data_device, ("general", "detectors", "detection_element", "illuminators", "illumination_element")
    parts = [
        (pacfish.MetadataDeviceTags.TAGS_GENERAL, device["general"]),
        *((pacfish.MetadataDeviceTags.TAGS_DETECTORS, one) for one in device["detectors"].values()),
        *((pacfish.MetadataDeviceTags.TAGS_ILLUMINATORS, one) for one in device["illuminators"].values()),
    ]
    lacking += [tag.tag for tags, told in parts for tag in tags if tag.mandatory and tag.tag not in {*told, *groups}]
    assert not lacking  # its completeness check also wants every optional field
    assert data.binary_time_series_data.shape == (16, 40, 2, 3)
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(data.binary_time_series_data[:, :, number % 2, number // 2], frame.pixels.T)
    assert data.get_sampling_rate() == pytest.approx(1540 / 1e-4)
    np.testing.assert_allclose(data.get_acquisition_wavelengths(), [750e-9, 850e-9])
    np.testing.assert_allclose(data.get_detector_position()[:, 0], (np.arange(16) - 7.5) * 3e-4)
    np.testing.assert_allclose(np.asarray(data.get_measurement_spatial_poses())[:, 11], [0, 0, 0.001, 0.001, 0.002, 0.002])
    with pytest.raises(CannotWrite, match="no photoacoustic"):
        write_ipasc(tmp_path / "b.ipasc.h5", [])


def same(a: Frame, b: Frame) -> bool:
    heads = [msgspec.structs.replace(one, pixels=None, image_to_reference=None, boot_id=0, sweep=0) for one in (a, b)]
    return (
        heads[0] == heads[1] and np.array_equal(a.pixels, b.pixels) and np.allclose(a.image_to_reference, b.image_to_reference, atol=1e-12)
    )


def test_what_was_written_is_read_frame_by_frame_with_its_own_time_energy_and_pose(tmp_path, capsys):
    frames = []
    for number, frame in enumerate(photoacoustic()):
        pose = np.reshape(frame.image_to_reference, (4, 4)).copy()
        pose[2, 3] = 0.25 * number  # the second wavelength lies further along than the first
        extras = Extras(laser_energy_mj=2.0 + number)
        frames.append(
            msgspec.structs.replace(frame, image_to_reference=tuple(pose.ravel().tolist()), extras=extras, sample_range=(10.0, 900.0))
        )
    frames[2], frames[3] = (  # an instant that begins with the longer wavelength
        msgspec.structs.replace(frames[2], wavelength_nm=850.0),
        msgspec.structs.replace(frames[3], wavelength_nm=750.0),
    )
    write_ipasc(tmp_path / "a.ipasc.h5", frames)
    sweep = open_sweep(tmp_path / "a.ipasc.h5")
    assert sweep.kind == "ipasc.h5" and sweep.frame_count == 6 and sweep.has_poses and sweep.frames_per_s == pytest.approx(100)
    assert sweep.geometry.spacing_mm == pytest.approx((0.3, 0.1)) and sweep.pose_source == ""
    back = [msgspec.structs.replace(frame, geometry=frames[0].geometry) for frame in sweep.frames()]
    assert len(back) == 6 and all(same(a, b) for a, b in zip(frames, back, strict=True))
    assert main(["info", str(tmp_path / "a.ipasc.h5")]) == 0 and "photoacoustic frames of IPASC" in capsys.readouterr().out


def test_poses_that_were_estimated_stay_estimated(tmp_path):
    told = {"pose_source": "network: small", "pose_direction": "+", "pose_direction_source": "operator"}
    write_ipasc(tmp_path / "a.ipasc.h5", [msgspec.structs.replace(frame, **told) for frame in photoacoustic()])
    sweep = open_sweep(tmp_path / "a.ipasc.h5")
    assert (sweep.pose_source, sweep.direction, sweep.direction_source) == ("network: small", "+", "operator")
    assert next(iter(sweep.frames())).pose_source == "network: small"
    mixed = [msgspec.structs.replace(frame, **(told if frame.sequence else {})) for frame in photoacoustic()]
    with pytest.raises(CannotWrite, match="one geometry"):
        write_ipasc(tmp_path / "b.ipasc.h5", mixed)


@pytest.mark.parametrize("count", [6, 1])
def test_what_pacfish_makes_of_it_is_read_as_well(tmp_path, count):
    frames = list(photoacoustic(count))
    write_ipasc(tmp_path / "a.ipasc.h5", frames)
    pacfish.write_data(str(tmp_path / "copy.hdf5"), pacfish.load_data(str(tmp_path / "a.ipasc.h5")))
    back = list(open_sweep(tmp_path / "copy.hdf5").frames())
    assert all(same(a, msgspec.structs.replace(b, geometry=a.geometry)) for a, b in zip(frames, back, strict=True))


def test_frames_without_poses_or_energies_say_so(tmp_path):
    bare = {"pose_status": "missing", "image_to_reference": None, "extras": Extras()}
    write_ipasc(tmp_path / "a.ipasc.h5", [msgspec.structs.replace(frame, **bare) for frame in photoacoustic()])
    sweep = open_sweep(tmp_path / "a.ipasc.h5")
    assert not sweep.has_poses
    assert all(frame.pose is None and frame.extras.laser_energy_mj is None for frame in sweep.frames())


def test_a_recording_of_light_is_a_volume_again(tmp_path):
    write_ipasc(tmp_path / "a.ipasc.h5", photoacoustic(40))
    words = ["reconstruct", str(tmp_path / "a.ipasc.h5"), "-o", str(tmp_path / "a.nrrd"), "--motion", "recorded"]
    assert main(words) == 0
    assert (tmp_path / "a-photoacoustic-750nm.nrrd").is_file() and (tmp_path / "a-photoacoustic-850nm.nrrd").is_file()


def put(name, value):
    def change(file):
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "refusal", "why"),
    [
        (put("meta_data/sonosweep_note", None), RawSeries, "the series of 16 detectors"),
        (put("meta_data/dimensionality", "space"), RawSeries, "axes the format leaves open"),
        (put("meta_data/dimensionality", None), MalformedFile, "no array meta_data/dimensionality"),
        (put("meta_data/dimensionality", 3.0), MalformedFile, "dimensionality is no array"),
        (put("meta_data/ad_sampling_rate", 1e6), BadIpasc, "not the depth of its field_of_view"),
        (put("meta_data/ad_sampling_rate", float("nan")), BadIpasc, "no number"),
        (put("meta_data/speed_of_sound", 0.0), BadIpasc, "not the depth"),
        (put("meta_data/speed_of_sound", None), MalformedFile, "speed_of_sound"),
        (put("meta_data_device/general/field_of_view", np.zeros(6)), BadIpasc, "not the depth"),
        (put("meta_data_device/general/field_of_view", [0.1, -0.1, 0, 0, 0, 0.004]), BadIpasc, "spacing"),
        (put("meta_data/acquisition_wavelengths", [750.0, 850.0]), BadIpasc, "no wavelengths in metres"),
        (put("meta_data/acquisition_wavelengths", [750e-9]), MalformedFile, "has the shape"),
        (put("meta_data/measurement_timestamps", np.full(6, -1.0)), BadIpasc, "no times"),
        (put("meta_data/measurement_timestamps", np.arange(3.0)), MalformedFile, "has the shape"),
        (put("meta_data/pulse_energy", np.full(6, -1.0)), BadIpasc, "below 0"),
        (put("meta_data/measurement_spatial_poses", np.zeros((6, 16))), BadIpasc, "last row"),
        (put("meta_data/measurement_spatial_poses", np.zeros((3, 16))), MalformedFile, "has the shape"),
        (put("meta_data/sonosweep_sample_range", [5.0, 5.0]), BadIpasc, "black and white"),
        (put("binary_time_series_data", np.zeros((16, 40, 2, 3))), MalformedFile, "no array of 4 axes"),
        (put("binary_time_series_data", np.zeros((16, 40, 2, 3), np.uint32)), BadIpasc, "8 or 16 bits"),
        (put("binary_time_series_data", np.zeros((1, 40, 2, 3), np.uint8)), BadIpasc, "is not"),
        (put("binary_time_series_data", h5py.ExternalLink("other.h5", "/a")), MalformedFile, "no HDF5 file that can be read|of its own"),
    ],
)
def test_what_is_no_image_or_contradicts_itself_is_refused_by_name(tmp_path, change, refusal, why):
    write_ipasc(tmp_path / "good.ipasc.h5", photoacoustic())
    shutil.copy(tmp_path / "good.ipasc.h5", tmp_path / "bad.ipasc.h5")
    with h5py.File(tmp_path / "bad.ipasc.h5", "r+") as file:
        change(file)
    with pytest.raises(refusal, match=why):
        list(open_sweep(tmp_path / "bad.ipasc.h5").frames())


def test_times_since_1970_are_read_back(tmp_path):
    frames = [msgspec.structs.replace(one, timestamp_ns=1_796_000_000 * 10**9 + one.timestamp_ns) for one in photoacoustic()]
    write_ipasc(tmp_path / "a.ipasc.h5", frames)
    times = [frame.timestamp_ns for frame in open_sweep(tmp_path / "a.ipasc.h5").frames()]
    np.testing.assert_allclose(
        np.subtract(times, frames[0].timestamp_ns), [frame.timestamp_ns - frames[0].timestamp_ns for frame in frames], atol=500
    )
