"""What a sweep's frames say of the probe: output, depth, focus, light. Where the probe says nothing the configuration may, else nobody."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.config import ConfigError, DicomConfig
from edge.dicom.errors import AcousticOutputUnknown, TransducerUnknown, WavelengthUnknown
from edge.messages import Frame, Geometry
from edge.scan_geometry import placed_size, scan_table


@dataclass
class ProbeFacts:
    """The largest output of a sweep, its depth and foci, its light, how long it took. Zeros are not known.

    ``face_mm``: the middle of the transducer's face in its first B-mode image, in millimetres from the first pixel; ``first_pose`` that
    image's ImageToReference in pixels (row-major 4x4), where a tracker measured it.
    """

    mechanical_index: float = -1.0
    thermal_index: float = -1.0
    depth_mm: float = 0.0
    focus_mm: tuple[float, ...] = ()
    wavelengths_nm: tuple[float, ...] = ()
    laser_energy_mj: float = 0.0
    duration_s: float = 0.0
    face_mm: tuple[float, float] | None = None
    geometry: str = "linear"
    first_pose: tuple[float, ...] = ()

    def take(self, frame: Frame) -> None:
        """Add what one frame says."""
        extras, geometry = frame.extras, frame.geometry
        if extras.mechanical_index is not None:
            self.mechanical_index = max(self.mechanical_index, extras.mechanical_index)
        if extras.thermal_index is not None:
            self.thermal_index = max(self.thermal_index, extras.thermal_index)
        if extras.laser_energy_mj is not None:
            self.laser_energy_mj = max(self.laser_energy_mj, extras.laser_energy_mj)
        if frame.modality == "photoacoustic":
            if frame.wavelength_nm > 0:
                self.wavelengths_nm = tuple(sorted({*self.wavelengths_nm, frame.wavelength_nm}))
            return
        self.focus_mm = self.focus_mm or extras.focus_mm
        self.geometry = geometry.kind
        rows_mm = geometry.height * geometry.spacing_mm[1] if geometry.kind == "linear" else 0.0
        self.depth_mm = max(self.depth_mm, geometry.depth_mm or rows_mm or geometry.radius_stop_mm - geometry.radius_start_mm)
        if self.face_mm is None:
            self.face_mm = _face_mm(geometry)
            if frame.pose is not None and not frame.pose_source:
                self.first_pose = tuple(frame.pose.matrix.ravel().tolist())


def gather(frames: Iterable[Frame]) -> ProbeFacts:
    """The facts of a sweep."""
    facts, times = ProbeFacts(), []
    for frame in frames:
        facts.take(frame)
        times.append(frame.timestamp_ns)
    if times:
        facts.duration_s = (max(times) - min(times)) / 1e9
    return facts


def completed(facts: ProbeFacts, config: DicomConfig) -> ProbeFacts:
    """``facts`` with what the configuration says where the probe did not."""
    try:
        lights = tuple(float(word) for word in config.wavelengths_nm.replace(",", " ").split())
    except ValueError:
        raise ConfigError(f'dicom.wavelengths_nm is {config.wavelengths_nm!r:.40}; write numbers such as "750 850"') from None
    return replace(
        facts,
        mechanical_index=config.mechanical_index if facts.mechanical_index < 0 else facts.mechanical_index,
        thermal_index=config.thermal_index if facts.thermal_index < 0 else facts.thermal_index,
        focus_mm=facts.focus_mm or ((config.focus_mm,) if config.focus_mm else ()),
        wavelengths_nm=facts.wavelengths_nm or lights,
    )


def transducer_to_volume(facts: ProbeFacts, sweep: str, *, tracked: bool) -> NDArray[np.float64]:
    """Where the transducer was at the first image [4, 4]: x along its face, z into the body, from the middle of the face, in mm.

    ``TransducerUnknown`` where the recording that says so is missing.
    """
    if facts.face_mm is None or (tracked and not facts.first_pose):
        raise TransducerUnknown(
            f"sweep {sweep}: nobody has said where the transducer was at its first image; lay its recording beside the volume, "
            "or take the plain copy"
        )
    first = np.reshape(facts.first_pose, (4, 4)) if tracked else np.eye(4)
    lateral, axial = (column / np.linalg.norm(column) for column in (first[:3, 0], first[:3, 1]))
    place = np.eye(4)
    place[:3, 0], place[:3, 1], place[:3, 2] = lateral, np.cross(axial, lateral), axial
    place[:3, 3] = first[:3, 3] + lateral * facts.face_mm[0] + axial * facts.face_mm[1]
    return place


def _face_mm(geometry: Geometry) -> tuple[float, float]:
    """Lateral, axial. Of a curved face the point between its outermost beams."""
    table, (columns, _) = scan_table(geometry), placed_size(geometry)
    axis_mm = (columns - 1) / 2 * geometry.spacing_mm[0]
    if table is None:
        return axis_mm, 0.0
    middle = math.radians((geometry.angle_start_deg + geometry.angle_stop_deg) / 2)
    return axis_mm + geometry.radius_start_mm * math.sin(middle), geometry.radius_start_mm * math.cos(middle) - table.z_top_mm


def check_acoustics(facts: ProbeFacts, sweep: str) -> None:
    """``AcousticOutputUnknown`` names what an Enhanced US Volume must say and nobody has said."""
    lacking = [
        name
        for name, known in (
            ("mechanical index", facts.mechanical_index >= 0),
            ("thermal index", facts.thermal_index >= 0),
            ("depth", facts.depth_mm > 0),
            ("focus", bool(facts.focus_mm)),
        )
        if not known
    ]
    if lacking:
        raise AcousticOutputUnknown(
            f"sweep {sweep}: nobody has said {', '.join(lacking)}, which an Enhanced US Volume must; "
            "lay its recording beside the volume (the same name, .mcap) or let the probe send it; all but the depth may be set in [dicom]"
        )


def check_light(facts: ProbeFacts, sweep: str) -> None:
    """``WavelengthUnknown`` where no wavelength was said."""
    if not facts.wavelengths_nm:
        raise WavelengthUnknown(f"sweep {sweep}: no wavelength is known; let the probe send it, or set dicom.wavelengths_nm")
