"""Modality Worklist: who is expected, as fields of an exam. Answers come from the network: each value is checked or left out."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, NamedTuple

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from edge.config import DicomConfig
from edge.console import say
from edge.dicom.errors import ExamNotDicom, MalformedDicom
from edge.dicom.exam import name_of
from edge.dicom.network import MOST_ANSWERS, find_worklist
from edge.dicom.reading import is_uid
from edge.files.dicom_errors import MALFORMED, quiet

LONGEST = 64  # of words that are only shown
LONGEST_FIELD = 500  # of an exam: what is longer is nobody's name
SEXES = ("F", "M", "O")


class Expected(NamedTuple):
    """One line of the worklist: the exam's fields, and when and what was ordered."""

    exam: dict[str, str]
    when: str
    what: str


def query(*, patient_name: str = "", patient_id: str = "", accession: str = "", date: str = "", modality: str = "US") -> Dataset:
    """``date`` such as 2026-11-27; empty words match everything."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID, ds.AccessionNumber = patient_name, patient_id, accession
    ds.PatientBirthDate = ds.PatientSex = ds.StudyInstanceUID = ds.RequestedProcedureID = ds.RequestedProcedureDescription = ""
    step = Dataset()
    step.Modality, step.ScheduledStationAETitle = modality, ""
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = date.replace("-", ""), ""
    step.ScheduledProcedureStepDescription = ""
    ds.ScheduledProcedureStepSequence = Sequence([step])
    return ds


def say_cut(sentence: str) -> None:
    """On the console."""
    say(f"sonosweep: {sentence}", "warning")


def ask(config: DicomConfig, asked: Dataset, cut: Callable[[str], None] = say_cut) -> tuple[list[Expected], int]:
    """Who is expected, and how many answers were left out because they were malformed. Raises what ``find_worklist`` raises.

    ``cut`` hears it where the worklist has more answers than are taken: those left out may be any, and only then is what is here sorted.
    """
    sentence = f"the worklist has more than {MOST_ANSWERS} answers, and whom it left out nobody knows; ask by name, number or date"
    found, malformed = [], 0
    for identifier in find_worklist(config, asked, lambda: cut(sentence)):
        try:
            found.append(read_item(identifier))
        except MalformedDicom:
            malformed += 1
    return sorted(found, key=lambda one: (one.when, one.exam.get("patient_name", ""))), malformed


def read_item(identifier: Dataset | None) -> Expected:
    """``MalformedDicom`` for an answer without a patient, or that cannot be read."""
    if identifier is None:
        raise MalformedDicom("an answer of the worklist is no DICOM")
    try:
        with quiet():
            name = "=".join(_whole(str(identifier.get("PatientName") or "")).split("=")[:3]).rstrip("^=")
            steps = identifier.get("ScheduledProcedureStepSequence") or [Dataset()]
            step = steps[0]
            values = {key: _whole(_single(identifier, key)) for key in ("PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber")}
            study = str(identifier.get("StudyInstanceUID") or "")
            when = [_text(str(step.get(f"ScheduledProcedureStepStart{one}") or "")) for one in ("Date", "Time")]
            words = (step.get("ScheduledProcedureStepDescription"), identifier.get("RequestedProcedureDescription"))
            what = next((text for text in (_text(str(one or "")) for one in words) if text), "")
    except MALFORMED as wrong:
        raise MalformedDicom(f"an answer of the worklist cannot be read: {str(wrong) or type(wrong).__name__}") from wrong
    exam: dict[str, Any] = {
        "patient_name": _name(name),
        "patient_id": values["PatientID"],
        "birth_date": _date(values["PatientBirthDate"]),
        "sex": values["PatientSex"] if values["PatientSex"] in SEXES else "",
        "accession": values["AccessionNumber"],
        "study_uid": study if is_uid(study) else "",
    }
    if not exam["patient_name"] and not exam["patient_id"]:
        raise MalformedDicom("an answer of the worklist names no patient")
    return Expected({key: value for key, value in exam.items() if value}, f"{_date(when[0])} {when[1][:4]}".strip(), what)


def _name(person: str) -> str:
    try:
        return name_of(person) if person else ""
    except ExamNotDicom as wrong:
        raise MalformedDicom(f"an answer of the worklist cannot be read: {wrong}") from wrong


def _whole(value: str) -> str:
    """What names somebody is never cut: a part of an ID is somebody else's. What is too long for DICOM is refused where it is written."""
    if len(value) > LONGEST_FIELD:
        raise MalformedDicom(f"an answer of the worklist has a field of {len(value)} characters; an exam takes {LONGEST_FIELD}")
    return "".join(c for c in value if c.isprintable()).strip()


def _single(identifier: Dataset, key: str) -> str:
    if isinstance(value := identifier.get(key), MultiValue):
        raise MalformedDicom(f"an answer of the worklist has two values as its {key}")
    return str(value or "")


def _text(value: str) -> str:
    return "".join(c for c in value if c.isprintable())[:LONGEST].strip()


def _date(value: str) -> str:
    try:
        return datetime.datetime.strptime(value, "%Y%m%d").date().isoformat()
    except ValueError:
        return ""
