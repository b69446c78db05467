"""PLUS/IGSIO sequences (`.igs.mha`, `.igs.nrrd`) as frames: MF orientation, millimetres, nanoseconds, ImageToReference."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.files import plus
from edge.files.errors import MalformedFile, NoPhysicalSpacing, UnsupportedFile
from edge.files.headers import ORIENTATION_FIELDS, read_header, stated_range
from edge.files.kept import FIELD, FrameKept, SweepKept, unsplit
from edge.files.pose_track import PoseTrack
from edge.files.probe import ProbeDoesNotFit, ProbeFile
from edge.files.stored_images import WHITEST, layout_of, stored_images
from edge.files.sweep import SweepFile
from edge.messages import Frame, Geometry, PoseStatus
from edge.transform import Transform

ASSUMED_FRAMES_PER_S = 20.0  # of a sequence without timestamps; said in the description
SPACING_AGREES = 0.05  # relative; a header that is further from the calibration than this is not believed
_FLIPS = {"MF": (False, False), "UF": (False, True), "MN": (True, False), "UN": (True, True)}  # rows, columns


class SequenceFile(SweepFile):
    """A PLUS sequence. Images whose ImageStatus is not OK are left out (their numbers are missing from the sequence).

    ``frame_fields(index)`` are the header fields of a frame as they stand in the file, unknown ones included.
    """

    def __init__(self, path: Path, plus_config: Path | None = None, probe: ProbeFile | None = None) -> None:
        self.path = path
        with path.open("rb") as file:
            self._header = header = read_header(file, str(path))
        self.kind = "igs.nrrd" if header.format == "NRRD" else "igs.mha"
        self._layout = layout_of(header, path)
        self._width, self._height, self._count = self._layout[:3]
        if header.frames and max(header.frames) >= self._count:
            raise MalformedFile(f"{path}: describes frame {max(header.frames)} but holds {self._count} images")
        self._kept: SweepKept | None = _parse(SweepKept, header.fields, path)
        if self._kept is not None:
            self._kept.check(str(path), (self._width, self._height), self.stated_spacing_mm, WHITEST[header.dtype[1:]])
            self.pose_source, self.direction = self._kept.pose_source, self._kept.direction
            self.direction_source = self._kept.direction_source
        self._orientation = next((header.fields[o] for o in ORIENTATION_FIELDS if o in header.fields), "MF").upper()
        if self._orientation[:2] not in _FLIPS or self._orientation[2:] not in ("", "A", "N", "D"):
            raise UnsupportedFile(f"{path}: image orientation {self._orientation} is not read here; save the sweep as MF, MN, UF or UN")
        self._valid = [i for i in range(self._count) if self.image_is_valid(i)]
        self.frame_count = len(self._valid)
        self._times = self._timestamps()
        self._track: PoseTrack | None = None
        self._place(plus_config, probe)
        self._sample_range, self._range_from = self._grey_range()
        span_s = (self._times[self._valid[-1]] - self._times[self._valid[0]]) / 1e9 if len(self._valid) > 1 else 0.0
        self.frames_per_s = (len(self._valid) - 1) / span_s if span_s > 0 else None
        self.description = self._describe()

    @property
    def geometry(self) -> Geometry:
        """Linear; the spacing of the header where that is real, else that of the calibration."""
        if self._kept is not None:
            return self._kept.geometry
        if self._spacing_mm is None:
            raise NoPhysicalSpacing(
                f"{self.path}: does not say how large a pixel is (ElementSpacing is 1 1 and no image transform is at hand); "
                "name the PLUS configuration file with its ImageToProbe calibration (--plus-config), or a probe file (--probe)"
            )
        return Geometry(width=self._width, height=self._height, spacing_mm=self._spacing_mm)

    @property
    def image_count(self) -> int:
        """Images in the file, invalid ones too."""
        return self._count

    @property
    def stated_spacing_mm(self) -> tuple[float, float] | None:
        """(lateral, axial) of the header: its spacing, and where that is a placeholder (PLUS and we write 1 1), its ElementSize."""
        for stated in (self._header.spacing[:2], self._header.element_size[:2]):
            if len(stated) == 2 and stated != (1.0, 1.0) and min(stated) > 0:
                return stated[0], stated[1]
        return None

    def frame_fields(self, index: int) -> dict[str, str]:
        """Header fields of image ``index`` of the file, as text."""
        return dict(self._header.frames.get(index, {}))

    def frames(self) -> Iterator[Frame]:
        """See :class:`SweepFile`. A pixel array is [rows, columns], MF, read-only."""
        geometry = self.geometry
        geometry.check()
        valid = set(self._valid)
        for index, pixels in enumerate(self.images()):
            if index in valid:
                yield self._frame(index, geometry, pixels)

    def _pose_at(self, index: int) -> tuple[PoseStatus, Transform | None]:
        """As the frame itself says; with a lag, as the frames around the moment at which it was taken say."""
        if not self._lag_ms:
            return plus.pose_of(self._header.frames.get(index, {}), self._route, self._calibration, self._at(index))
        if self._track is None:
            fields = [self._header.frames.get(i, {}) for i in range(self._count)]
            poses = [plus.pose_of(of_frame, self._route, self._calibration, self._at(i)) for i, of_frame in enumerate(fields)]
            self._track = PoseTrack(poses, self._times, self._lag_ms)
        return self._track.pose_at(index)

    def _grey_range(self) -> tuple[tuple[float, float], str]:
        """Which sample values mean black and white, and how that is known. Reads 16-bit images through where the header is silent."""
        largest = WHITEST[self._header.dtype[1:]]
        if self._kept is not None:
            return self._kept.sample_range, "header"
        if largest == 255:
            return (0.0, largest), "type"
        stated = stated_range(self._header.fields, largest)
        if stated is not None:
            return stated, "header"
        valid = set(self._valid)
        most = max((int(pixels.max()) for index, pixels in enumerate(self.images()) if index in valid), default=0)
        return (0.0, float(2 ** max(8, most.bit_length()) - 1)), f"smallest power of two that holds {most}"

    def images(self) -> Iterator[NDArray[Any]]:
        """All images of the file, invalid ones too: [rows, columns], MF, read-only. Needs no pixel size."""
        rows, columns = _FLIPS[self._orientation[:2]]
        for stored in stored_images(self.path, self._header, self._layout):
            turned = stored[:: -1 if rows else 1, :: -1 if columns else 1]
            pixels = np.ascontiguousarray(turned, stored.dtype.newbyteorder("<"))
            pixels.flags.writeable = False
            yield pixels

    def _frame(self, index: int, geometry: Geometry, pixels: NDArray[Any]) -> Frame:
        status, pose = self._pose_at(index)
        frame = Frame(
            boot_id=0,
            sweep=0,
            sequence=index,
            timestamp_ns=self._times[index],
            last=index == self._valid[-1],
            geometry=geometry,
            sample_range=self._sample_range,
            pose_status=status,
            image_to_reference=None if pose is None else tuple(pose.matrix.ravel().tolist()),
            pixels=pixels,
        )
        if self._kept is None:
            return frame
        fields = self._header.frames.get(index, {})
        kept: FrameKept = _parse(FrameKept, fields, self._at(index)) or FrameKept()
        return self._kept.restore(kept.restore(frame), _whole(fields.get("FrameNumber", str(index)), self._at(index)))

    def timestamp_ns(self, index: int) -> int:
        """The probe's clock at image ``index``."""
        return self._times[index]

    def probe_to_reference(self, index: int) -> Transform | None:
        """Where the tracker says that the probe was at image ``index``; None where it does not say."""
        return plus.probe_to_reference(self._header.frames.get(index, {}), self._route, self._at(index))

    def _place(self, plus_config: Path | None, probe: ProbeFile | None) -> None:
        """Find the way from Image to Reference, and with it the size of a pixel."""
        keys = {key.removesuffix("Status") for fields in self._header.frames.values() for key in fields}
        self._route = plus.route_of({key.removesuffix("Transform") for key in keys if key.endswith("Transform")})
        if probe is not None:
            self._calibration: Transform | None = self._calibration_of(probe)
        else:
            self._calibration = self._own_calibration() if plus_config is None else plus.image_to_probe(plus_config)
        self._lag_ms = 0.0 if probe is None else probe.lag_ms
        self.has_poses = self._route == "ImageToReference" or (self._route != "" and self._calibration is not None)
        stated, calibrated = self.stated_spacing_mm, self._calibrated_spacing()
        agrees = stated is not None and (calibrated is None or np.allclose(stated, calibrated, rtol=SPACING_AGREES))
        self._spacing_mm = stated if agrees else calibrated
        self._spacing_from = "header" if agrees else "calibration" if calibrated else "unknown"

    def _calibration_of(self, probe: ProbeFile) -> Transform:
        if self._route in ("", "ImageToReference"):
            what = "holds no transforms of a tracker" if not self._route else "holds ImageToReference, which needs no calibration"
            raise ProbeDoesNotFit(f"{self.path}: {what}; leave --probe out")
        depth_mm = 0.0 if self._kept is None else self._kept.geometry.depth_mm
        probe.check_fits(str(self.path), self._width, self._height, self.stated_spacing_mm, depth_mm)
        return probe.transform

    def _own_calibration(self) -> Transform | None:
        for index, fields in self._header.frames.items():
            if fields.get("ImageToProbeTransformStatus", "OK") == "OK" and "ImageToProbeTransform" in fields:
                return plus.transform("ImageToProbe", fields["ImageToProbeTransform"], self._at(index))
        return None

    def _calibrated_spacing(self) -> tuple[float, float] | None:
        """Millimetres of one column and one row: the lengths of the first two axes of an image transform."""
        image = self._calibration
        if self._route == "ImageToReference":
            poses = (plus.pose_of(fields, self._route, None, self._at(i)) for i, fields in sorted(self._header.frames.items()))
            image = next((pose for status, pose in poses if status == "ok"), None)
        if image is None:
            return None
        lateral, axial = np.linalg.norm(image.matrix[:3, :2], axis=0)
        return float(lateral), float(axial)

    def image_is_valid(self, index: int) -> bool:
        """Whether the file says that image ``index`` is one."""
        fields = self._header.frames.get(index, {})
        return fields.get("ImageStatus", fields.get("Status", "OK")).upper() == "OK"

    def _timestamps(self) -> list[int]:
        """Probe time of each image in ns; without timestamps, a stated rate."""
        written = [self._header.frames.get(i, {}).get("Timestamp") for i in range(self._count)]
        times = [0] * self._count
        for index, text in enumerate(written):
            if text is None or index not in self._header.frames:
                times[index] = round(index * 1e9 / ASSUMED_FRAMES_PER_S)
                continue
            try:
                times[index] = int((Decimal(text) * 10**9).to_integral_value())
            except (InvalidOperation, ValueError, OverflowError):
                raise MalformedFile(f"{self._at(index)}: Timestamp is not a number of seconds: {text[:40]!r}") from None
            if abs(times[index]) >= 2**63:
                raise MalformedFile(f"{self._at(index)}: Timestamp is out of range: {text[:40]!r}")
        self._timed = None not in written
        return times

    def _at(self, index: int) -> str:
        return f"{self.path}: frame {index}"

    def _describe(self) -> dict[str, Any]:
        fields = {k: v for k, v in self._header.custom.items() if not k.startswith(FIELD) and k not in ORIENTATION_FIELDS}
        found: dict[str, Any] = {
            "orientation_in_file": self._orientation,
            "samples": {"u1": "uint8", "u2": "uint16"}[self._header.dtype[1:]],
            "black_white": list(self._sample_range),
            "black_white_from": self._range_from,
            "compressed": self._header.encoding != "raw",
            "spacing_from": self._spacing_from,
            "poses_from": self._route if self.has_poses else "",
            "transforms": sorted({k.removesuffix("Transform") for f in self._header.frames.values() for k in f if k.endswith("Transform")}),
            "images_invalid": self._count - len(self._valid),
            "fields": fields,
        }
        notes = []
        if self._route == "ProbeToTracker":
            notes.append("no ReferenceToTracker: Reference is the tracker itself")
        if self._route not in ("", "ImageToReference") and self._calibration is None:
            notes.append(
                "tracked, but ImageToProbe is not known: name the PLUS configuration file with --plus-config, or a probe file with --probe"
            )
        if not self._timed:
            notes.append(f"not every frame has a timestamp: {ASSUMED_FRAMES_PER_S:g} frames/s are assumed")
        if self._range_from not in ("header", "type"):
            notes.append(f"the header does not say which sample value is white: {self._sample_range[1]:g}, the {self._range_from}")
        if self.pose_source:
            found["poses_from"] = self.pose_source
            notes.append(f"the poses are estimated ({self.pose_source}) and not tracked")
        if self._lag_ms:
            notes.append(f"images are placed where the tracker was {self._lag_ms:g} ms after their timestamp (the probe file's lag)")
        return {**found, "notes": notes}


def _parse(kind: type[Any], fields: dict[str, str], where: Path | str) -> Any:
    text = unsplit(fields)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as wrong:
        raise MalformedFile(f"{where}: the {FIELD} fields are damaged ({wrong})") from wrong


def _whole(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise MalformedFile(f"{where}: FrameNumber is not a whole number: {text[:40]!r}")
    return int(text)
