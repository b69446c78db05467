"""Where a PLUS sequence says that its images lie: tracker transforms of a frame, joined with the calibration of the probe."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge.files.errors import MalformedFile, NoCalibration
from edge.files.headers import numbers
from edge.messages import PoseStatus
from edge.transform import BadTransform, Transform

LARGEST_CONFIGURATION = 16 << 20
ROUTES: dict[str, tuple[str, ...]] = {  # in the order of preference; what a frame must have for each
    "ImageToReference": ("ImageToReference",),
    "ProbeToReference": ("ProbeToReference",),
    "ProbeToTracker, ReferenceToTracker": ("ProbeToTracker", "ReferenceToTracker"),
    "ProbeToTracker": ("ProbeToTracker",),
}
_TRACKER_IS_REFERENCE = Transform("Tracker", "Reference", np.eye(4))


def read_configuration(configuration: Path) -> ElementTree.Element:
    """The root of a PLUS configuration file (XML); ``MalformedFile`` where it is none."""
    try:
        if configuration.stat().st_size > LARGEST_CONFIGURATION:
            raise MalformedFile(f"{configuration}: is larger than any PLUS configuration file")
        return ElementTree.parse(configuration).getroot()
    except ElementTree.ParseError as wrong:
        raise MalformedFile(f"{configuration}: is not XML: {wrong}") from wrong
    except OSError as wrong:
        raise MalformedFile(f"{configuration}: {wrong.strerror}; name the PLUS configuration file of the sweep") from wrong


def image_to_probe(configuration: Path) -> Transform:
    """ImageToProbe of a PLUS configuration file (XML, CoordinateDefinitions)."""
    root = read_configuration(configuration)
    found = {(t.get("From", ""), t.get("To", "")): t.get("Matrix", "") for t in root.iter("Transform")}
    if ("Image", "Probe") not in found:
        known = ", ".join(f"{source}To{target}" for source, target in found) or "no transform at all"
        raise NoCalibration(f"{configuration}: has no ImageToProbe (it has {known}); calibrate the probe first or name another file")
    return transform("ImageToProbe", found["Image", "Probe"], str(configuration))


def route_of(available: set[str]) -> str:
    """Which of :data:`ROUTES` a file with these transforms (``ImageToReference`` ...) offers; ``""`` for none."""
    return next((route for route, needed in ROUTES.items() if available.issuperset(needed)), "")


def pose_of(fields: Mapping[str, str], route: str, calibration: Transform | None, name: str) -> tuple[PoseStatus, Transform | None]:
    """ImageToReference of a frame from its header fields. ``invalid``: a tool was not seen, or its matrix is impossible."""
    steps: dict[str, Transform] = {}
    if not route:
        return "missing", None
    for needed in ROUTES[route]:
        seen = fields.get(f"{needed}TransformStatus", "OK").upper() == "OK"
        if f"{needed}Transform" not in fields:
            return "missing" if seen else "invalid", None
        try:
            steps[needed] = transform(needed, fields[f"{needed}Transform"], name)
        except BadTransform:
            return "invalid", None
        if not seen:
            return "invalid", steps[needed] if needed == "ImageToReference" else None
    if route == "ImageToReference":
        return "ok", steps[route]
    if calibration is None:
        return "missing", None
    probe_to_reference = _joined(steps)
    return ("invalid", None) if probe_to_reference is None else ("ok", probe_to_reference @ calibration)


def probe_to_reference(fields: Mapping[str, str], route: str, name: str) -> Transform | None:
    """ProbeToReference of a frame from its header fields; None where a tool was not seen, or the route does not pass the probe."""
    if route in ("", "ImageToReference"):
        return None
    nothing = Transform("Image", "Probe", np.eye(4))
    status, pose = pose_of(fields, route, nothing, name)
    return None if status != "ok" or pose is None else Transform("Probe", "Reference", pose.matrix)


def _joined(steps: Mapping[str, Transform]) -> Transform | None:
    if "ProbeToReference" in steps:
        return steps["ProbeToReference"]
    try:
        tracker_to_reference = steps["ReferenceToTracker"].inverse() if "ReferenceToTracker" in steps else _TRACKER_IS_REFERENCE
    except BadTransform:
        return None
    return tracker_to_reference @ steps["ProbeToTracker"]


def transform(label: str, text: str, name: str) -> Transform:
    """Sixteen numbers, row by row, into the transform called ``label``."""
    values = numbers(text, name, label)
    if len(values) != 16:
        raise MalformedFile(f"{name}: {label} has {len(values)} numbers and not 16")
    return Transform.named(label, np.reshape(values, (4, 4)))
