"""Photoacoustic frames as IPASC's HDF5 (version of 2021): one time series for each column of the image.

What a probe sends us is formed already, line by line. A line is written as the series of its transducer position, at the sampling
rate that belongs to its pixel size and the speed of sound (light needs no time): ``ad_sampling_rate`` is derived, and the metadata
say so. A measurement is one frame: times, energies and poses (4x4 row-major [measurements, 16], ImageToReference in metres; the format
leaves their form open) run over the wavelengths of the first instant, then over those of the next.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edge.atomic import replacing
from edge.files.errors import CannotWrite
from edge.files.hdf5 import library
from edge.messages import Frame

SPEED_OF_SOUND_M_S = 1540.0
NAMESPACE = uuid.UUID("5c6f0b1e-3c1e-4a53-9a5e-7a1c7c9b2f10")
LARGEST_BYTES = 2 << 30
# What the format has no place for: that lines are formed, which samples are black and white, and what estimated the poses
FORMED, SAMPLE_RANGE = "sonosweep_note", "sonosweep_sample_range"
POSE_ORIGIN = ("sonosweep_pose_source", "sonosweep_pose_direction", "sonosweep_pose_direction_source")


def write_ipasc(path: Path, frames: Iterable[Frame], speed_of_sound_m_s: float = SPEED_OF_SOUND_M_S) -> int:
    """Write the photoacoustic frames, whole or not at all; answers how many frames. ``CannotWrite``.

    Frames of several wavelengths that follow each other are one instant; one that misses a wavelength is left out.
    """
    wanted = [frame for frame in frames if frame.modality == "photoacoustic"]
    if not wanted:
        raise CannotWrite(f"{path}: there is no photoacoustic frame to write")
    first = wanted[0]
    common = [(f.geometry, f.pixels.dtype, f.sample_range, f.pose_origin if f.pose else first.pose_origin) for f in wanted]
    if first.geometry.kind != "linear" or any(one != common[0] for one in common):
        raise CannotWrite(f"{path}: IPASC's file holds linear frames of one geometry and sample type; a recording (.mcap) holds all")
    wavelengths_nm = sorted({frame.wavelength_nm for frame in wanted})
    instants = _instants(wanted, wavelengths_nm)
    geometry = first.geometry
    if not instants or len(instants) * len(wavelengths_nm) * first.pixels.nbytes > LARGEST_BYTES:
        raise CannotWrite(f"{path}: {len(instants)} instants with all of {wavelengths_nm} nm cannot be written; split the sweep")
    data = np.stack([np.stack([frame.pixels.T for frame in instant], axis=-1) for instant in instants], axis=-1)
    lateral_m, axial_m = (mm / 1000 for mm in geometry.spacing_mm)
    across = (np.arange(geometry.width) - (geometry.width - 1) / 2) * lateral_m
    half_m, depth_m = geometry.width * lateral_m / 2, geometry.height * axial_m
    measured = [frame for instant in instants for frame in instant]
    uid = str(uuid.uuid5(NAMESPACE, f"{first.boot_id}/{first.sweep}/{first.sequence}/{len(instants)}"))
    acquisition = {
        "uuid": uid,
        "encoding": "UTF-8",
        "compression": "gzip",
        "data_type": data.dtype.name,
        "dimensionality": "time",
        "sizes": np.array(data.shape),
        "ad_sampling_rate": speed_of_sound_m_s / axial_m,
        "acquisition_wavelengths": np.array(wavelengths_nm) * 1e-9,
        "speed_of_sound": speed_of_sound_m_s,
        "measurement_timestamps": np.array([frame.timestamp_ns / 1e9 for frame in measured]),
        "measurements_per_image": 1,
        FORMED: "lines of images that were formed on the probe; ad_sampling_rate follows from pixel size and speed of sound",
        SAMPLE_RANGE: np.array(first.sample_range),
    }
    if all(frame.extras.laser_energy_mj is not None for frame in measured):
        acquisition["pulse_energy"] = np.array([(frame.extras.laser_energy_mj or 0) / 1000 for frame in measured])
    if all(frame.pose is not None for frame in measured):
        poses = np.array([frame.image_to_reference for frame in measured]).reshape(-1, 4, 4)
        poses[:, :3, :] /= 1000
        acquisition["measurement_spatial_poses"] = poses.reshape(-1, 16)
        acquisition |= {name: told for name, told in zip(POSE_ORIGIN, first.pose_origin, strict=True) if told}
    view = np.array([-half_m, half_m, 0.0, 0.0, 0.0, depth_m])
    h5py = library(f"{path}: HDF5 needs h5py")
    with replacing(path) as out, h5py.File(out, "w") as file:
        file.create_dataset("binary_time_series_data", data=data, compression="gzip", chunks=(*data.shape[:3], 1))
        for name, value in acquisition.items():
            file[f"meta_data/{name}"] = value
        file["meta_data_device/general/unique_identifier"] = str(uuid.uuid5(NAMESPACE, "probe"))
        file["meta_data_device/general/field_of_view"] = view
        file["meta_data_device/general/num_detectors"] = geometry.width
        file["meta_data_device/general/num_illuminators"] = 1
        for number, x in enumerate(across.tolist()):
            detector = f"meta_data_device/detectors/{number:010d}"
            file[f"{detector}/detector_position"] = np.array([x, 0.0, 0.0])
            file[f"{detector}/detector_orientation"] = np.array([0.0, 0.0, 1.0])
            file[f"{detector}/detector_geometry_type"] = "CUBOID"
            file[f"{detector}/detector_geometry"] = np.array([lateral_m, lateral_m, 1e-4])
        light = f"meta_data_device/illuminators/{0:010d}"
        file[f"{light}/illuminator_position"] = np.zeros(3)
        file[f"{light}/illuminator_orientation"] = np.array([0.0, 0.0, 1.0])
        file[f"{light}/wavelength_range"] = np.array([min(wavelengths_nm) * 1e-9, max(wavelengths_nm) * 1e-9, 1e-9])
    return len(measured)


def _instants(frames: list[Frame], wavelengths_nm: list[float]) -> list[list[Frame]]:
    """Runs of frames with one of each wavelength, in the order of the wavelengths."""
    found, waiting = [], dict[float, Frame]()
    for frame in frames:
        if frame.wavelength_nm in waiting:
            waiting = {}
        waiting[frame.wavelength_nm] = frame
        if len(waiting) == len(wavelengths_nm):
            found.append([waiting[nm] for nm in wavelengths_nm])
            waiting = {}
    return found
