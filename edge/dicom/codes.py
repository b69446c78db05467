"""Codes of SNOMED CT and DICOM for what a sweep is of and how it was made. What is not known is said to be unknown."""

from __future__ import annotations

from typing import NamedTuple

from pydicom.dataset import Dataset


class Code(NamedTuple):
    """A coded word."""

    value: str
    scheme: str
    meaning: str


class Region(NamedTuple):
    """A part of the body: its code, and its word in Body Part Examined."""

    code: Code
    word: str


def _region(value: str, meaning: str, word: str = "") -> Region:
    return Region(Code(value, "SCT", meaning), word or meaning.upper().replace(" ", ""))


SOMEWHERE = _region("123037004", "Body structure", "")._replace(word="")
REGIONS = {
    "vessel": _region("59820001", "Blood vessel"),
    "thyroid": _region("69748006", "Thyroid"),
    "leg": _region("61685007", "Lower limb", "LEG"),
    "lower leg": _region("30021000", "Lower leg", "LEG"),
    "calf": _region("30021000", "Lower leg", "LEG"),
    "thigh": _region("68367000", "Thigh"),
    "knee": _region("72696002", "Knee"),
    "foot": _region("56459004", "Foot"),
    "arm": _region("53120007", "Upper limb", "ARM"),
    "upper arm": _region("40983000", "Upper arm", "ARM"),
    "forearm": _region("14975008", "Forearm"),
    "hand": _region("85562004", "Hand"),
    "shoulder": _region("16982005", "Shoulder"),
    "neck": _region("45048000", "Neck"),
    "carotid": _region("69105007", "Carotid Artery", "CAROTID"),
    "breast": _region("76752008", "Breast"),
    "chest": _region("816094009", "Chest"),
    "lung": _region("39607008", "Lung"),
    "heart": _region("80891009", "Heart"),
    "abdomen": _region("818981001", "Abdomen"),
    "liver": _region("10200004", "Liver"),
    "kidney": _region("64033007", "Kidney"),
    "bladder": _region("89837001", "Bladder"),
    "prostate": _region("41216001", "Prostate"),
    "uterus": _region("35039007", "Uterus"),
}
UNKNOWN = Code("261665006", "SCT", "Unknown")
PLANE_SCAN = Code("125241", "DCM", "Plane scan pattern")
GEOMETRIES = {
    "linear": Code("125252", "DCM", "Linear ultrasound transducer geometry"),
    "convex": Code("125253", "DCM", "Curved linear ultrasound transducer geometry"),
}
FIXED_BEAM = Code("125257", "DCM", "Fixed beam direction")
EXTERNAL = Code("125261", "DCM", "External Transducer")
OWN_SCHEME = "99SONOSWEEP"
MOTION = Code("motion", OWN_SCHEME, "Source of the motion between images")
DIRECTION = Code("direction", OWN_SCHEME, "Direction of the sweep, lateral x axial")
DIRECTION_SOURCE = Code("direction-source", OWN_SCHEME, "Who confirmed the direction of the sweep")


def region_of(body_part: str) -> Region:
    """The region that the exam's free words name; ``SOMEWHERE`` where they name none of the table."""
    return REGIONS.get(" ".join(body_part.lower().split()), SOMEWHERE)


def coded(code: Code) -> Dataset:
    """The item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item
