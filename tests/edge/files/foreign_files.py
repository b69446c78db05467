"""Small files of foreign formats, made by libraries that are not ours."""

from __future__ import annotations

import warnings

import av
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from edge.files.hints import Crop
from edge.messages import Extras, Frame, Geometry
from edge.transform import Transform

AREA = Crop(80, 40, 160, 128)


def screens(count=24, seed=1):
    """A scanner's screen: a frozen border with text, a clock that ticks, a drawn scale, and an image that moves."""
    dice = np.random.default_rng(seed)
    still = np.full((240, 320), 20, np.uint8)
    still[10:20, 30:200] = dice.integers(0, 255, (10, 170))
    speckle = dice.integers(0, 200, (AREA.height + count, AREA.width), dtype=np.uint8)
    for number in range(count):
        screen = still.copy()
        screen[4:12, 280:300] = 255 * (number % 2)  # the clock
        image = speckle[number : number + AREA.height]
        image[0, 0] = 0
        screen[AREA.top : AREA.top + AREA.height, AREA.left : AREA.left + AREA.width] = image
        screen[AREA.top + 60 : AREA.top + 64, AREA.left : AREA.left + AREA.width] = 90  # a ruler across the image
        yield screen


def write_video(path, images, codec, rate=25, pixel_format="yuv420p"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape
        stream.pix_fmt = pixel_format
        if codec == "mpeg4":
            stream.bit_rate = 8_000_000
        for image in images:
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="gray")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def clip(path, images, *, region=True, syntax=ExplicitVRLittleEndian, **changes):
    """A US multi-frame clip as scanners store it."""
    one, meta = Dataset(), FileMetaDataset()
    meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    one.file_meta, one.Modality, one.PatientName = meta, "US", "Doe^Jane"
    one.NumberOfFrames, (one.Rows, one.Columns) = len(images), images[0].shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 8
    one.HighBit, one.PixelRepresentation, one.FrameTime = 7, 0, "50"
    if region:
        tissue = Dataset()
        tissue.RegionDataType, tissue.RegionSpatialFormat, tissue.RegionFlags = 1, 1, 0
        tissue.RegionLocationMinX0, tissue.RegionLocationMinY0 = AREA.left, AREA.top
        tissue.RegionLocationMaxX1, tissue.RegionLocationMaxY1 = AREA.left + AREA.width - 1, AREA.top + AREA.height - 1
        tissue.PhysicalUnitsXDirection = tissue.PhysicalUnitsYDirection = 3
        tissue.PhysicalDeltaX, tissue.PhysicalDeltaY = 0.02, 0.01
        one.SequenceOfUltrasoundRegions = [tissue]
    one.PixelData = np.stack(images).tobytes()
    for name, value in changes.items():
        setattr(one, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(path, one, enforce_file_format=True)


def tracked(count=5, size=(20, 30)):
    dice = np.random.default_rng(3)
    images = dice.integers(0, 256, (count, *size), dtype=np.uint8)
    poses = []
    for number in range(count):
        turn = 0.05 * number
        rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation @ np.diag([0.2, 0.1, 1.0]), (number, -3.0, 0.5 * number)
        poses.append(Transform("Image", "Reference", matrix))
    return images, poses


def photoacoustic(count=6):
    dice = np.random.default_rng(5)
    geometry = Geometry(width=16, height=40, spacing_mm=(0.3, 0.1))
    for number in range(count):
        pose = np.diag([0.3, 0.1, 1.0, 1.0])
        pose[2, 3] = number // 2
        yield Frame(
            boot_id=1,
            sweep=2,
            sequence=number,
            timestamp_ns=number * 10_000_000,
            modality="photoacoustic",
            wavelength_nm=(750.0, 850.0)[number % 2],
            geometry=geometry,
            sample_range=(0, 65535),
            pose_status="ok",
            image_to_reference=tuple(pose.ravel().tolist()),
            extras=Extras(laser_energy_mj=2.0),
            pixels=dice.integers(0, 65536, (40, 16), dtype=np.uint16),
        )
