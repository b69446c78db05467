"""An exam's fields as patient, study and series of DICOM, and back from a worklist. An exam that names nobody is written as such."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from edge.dicom.codes import region_of
from edge.dicom.errors import ExamNotDicom
from edge.dicom.identifiers import uid_of
from edge.tablet.privacy import PATIENT_FIELDS

LATERALITY = {"left": "L", "right": "R"}
LONGEST = {"patient_name": 64, "patient_id": 64, "accession": 16, "operator": 64, "study_uid": 64}
PERSONS = ("patient_name", "operator")  # up to three groups of characters with = between them, each of which may be so long
LONGEST_TEXT = 10240
NEVER_NAMED = "The exam names no patient"
TAKEN_OUT = "Patient, operator and notes were left out"  # an LO: at most 64 characters
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Exam:
    """Whose sweep it is and when it was made (``file_time``: nobody wrote that down, it is the time of a file).

    ``fields`` as in docs/tablet-link.md; ``anonymous`` leaves out all that names somebody.
    """

    sweep: str
    created: str
    clock_trusted: bool = True
    fields: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False
    file_time: bool = False
    clock_source: str = ""
    study_created: str = ""  # of the study's first sweep; nothing: this is the first

    @property
    def names_nobody(self) -> bool:
        """Whether the objects are written without a patient's name."""
        return self.anonymous or not any(self.fields.get(one) for one in PATIENT_FIELDS)

    @property
    def side(self) -> str:
        """``L``, ``R`` or nothing."""
        return LATERALITY.get(self.fields.get("side", ""), "")

    @property
    def moment(self) -> datetime.datetime:
        """When the sweep was made, in the device's local time. ``ExamNotDicom`` where its record does not say so."""
        return self._local(self.created)

    @property
    def study_moment(self) -> datetime.datetime:
        """When the study's first sweep was made, likewise: all its objects must say the same."""
        return self._local(self.created if self.names_nobody else self.study_created or self.created)

    @property
    def study_uid(self) -> str:
        """The worklist's where it came from one; else one of the accession, else of patient and local day, else of this sweep alone."""
        known = {} if self.names_nobody else self.fields
        if known.get("study_uid"):
            return known["study_uid"]
        patient = [known.get(one, "") for one in ("patient_id", "patient_name", "birth_date")]
        if known.get("accession"):
            return uid_of("study", known["accession"], *patient)
        return uid_of("study", self.moment.strftime("%Y-%m-%d"), *patient) if any(patient) else uid_of("study", self.sweep)

    def _local(self, utc: str) -> datetime.datetime:
        try:
            return datetime.datetime.strptime(utc, _STAMP).replace(tzinfo=datetime.timezone.utc).astimezone()
        except ValueError:
            raise ExamNotDicom(f"sweep {self.sweep}: created is {utc!r:.40}, and no time such as 2026-11-27T17:00:00Z") from None

    def uid(self, what: str) -> str:
        """Of ``what`` there is one of in the sweep; without a name another one, so that it leads to no named object."""
        return uid_of(what, self.sweep, *(["anonymous"] if self.names_nobody else []))

    def series_uid(self, *words: str) -> str:
        """One series for each kind of object of a sweep; ``words`` name the kind, and what must not lie in one series."""
        return uid_of("series", self.study_uid, self.sweep, *words)


def describe(ds: Dataset, exam: Exam) -> None:
    """Patient, study and the parts of the series that the exam knows."""
    known = {} if exam.names_nobody else {key: value for key, value in exam.fields.items() if value}
    for key, longest in LONGEST.items():
        text = known.get(key, "")
        parts = [group.rstrip("^") for group in _person(text, key).split("=")] if key in PERSONS else [text]
        if (length := max(map(len, parts))) > longest:
            raise ExamNotDicom(f"{key} has {length} characters and DICOM takes {longest}; shorten it in the exam")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = _person(known.get("patient_name", ""), "patient_name")
    ds.PatientID = _plain(known.get("patient_id", ""), "patient_id")
    ds.PatientBirthDate = _date(known.get("birth_date", ""))
    ds.PatientSex = known.get("sex", "")
    if exam.names_nobody:
        ds.PatientID = f"ANON-{exam.study_uid.rsplit('.', 1)[1][:12]}"
        ds.PatientIdentityRemoved = "YES"
        ds.DeidentificationMethod = TAKEN_OUT if exam.anonymous else NEVER_NAMED
        ds.PatientSex = exam.fields.get("sex", "")
    ds.StudyInstanceUID = _uid(exam.study_uid)
    ds.StudyDate, ds.StudyTime = exam.study_moment.strftime("%Y%m%d"), exam.study_moment.strftime("%H%M%S")
    ds.SeriesDate, ds.SeriesTime = exam.moment.strftime("%Y%m%d"), exam.moment.strftime("%H%M%S")
    ds.TimezoneOffsetFromUTC = exam.moment.strftime("%z")
    ds.ReferringPhysicianName = ""
    ds.StudyID = uid_of(exam.study_uid).rsplit(".", 1)[1][:8]
    ds.AccessionNumber = _plain(known.get("accession", ""), "accession")
    if known.get("operator"):
        ds.OperatorsName = _person(known["operator"], "operator")
    if known.get("notes"):
        ds.PatientComments = _text(known["notes"])
    region = region_of(exam.fields.get("body_part", ""))
    if region.word:
        ds.BodyPartExamined = region.word
    ds.Laterality = exam.side


def name_of(person: str) -> str:
    """A person's name of DICOM as an exam's: ``Family, Given`` where that is all of it, else unchanged. :func:`describe` undoes it."""
    bare = person.rstrip("^")
    parts = bare.split("^")
    shown = ", ".join(parts)
    if "=" not in person and len(parts) < 3 and all(parts) and _person(shown, "name") == bare:
        return shown
    return person if "^" in person else f"{person}^"


def _person(name: str, what: str) -> str:
    """``Family, Given`` to ``Family^Given``, what has a ^ as it is; words without either stay one component, not guessed at."""
    groups = name.count("=")
    if "\\" in name or not name.isprintable() or (groups and (groups > 2 or "^" not in name)):
        raise ExamNotDicom(f"{what} holds a sign that DICOM keeps for itself (\\ or =); leave it out in the exam")
    if "^" in name or "," not in name:
        return "=".join(group.rstrip("^") for group in name.strip().split("="))
    return "^".join(part.strip() for part in name.split(",", 1))


def _plain(value: str, what: str) -> str:
    if "\\" in value or not value.isprintable():
        raise ExamNotDicom(f"{what} holds a sign that DICOM keeps for itself (\\); leave it out in the exam")
    return value.strip()


def _text(value: str) -> str:
    return "".join(c for c in value if c.isprintable() or c in "\r\n\t")[:LONGEST_TEXT]


def _date(value: str) -> str:
    if not value:
        return ""
    try:
        return datetime.date.fromisoformat(value).strftime("%Y%m%d")
    except ValueError:
        raise ExamNotDicom(f"birth_date is {value!r:.20} and no date such as 1961-04-05; correct it in the exam") from None


def _uid(value: str) -> str:
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", value):
        raise ExamNotDicom(f"study_uid {value!r:.70} is no UID; leave it empty, or take it from the worklist")
    return value
