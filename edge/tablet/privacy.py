"""Which fields of an exam name a patient. They never go over plain http, and never into the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PATIENT_FIELDS = frozenset({"patient_name", "patient_id", "birth_date", "accession", "study_uid"})


def without_patient(exam: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``exam`` without the fields that name a patient; the same for what is sent and for what is taken."""
    return {field: value for field, value in exam.items() if field not in PATIENT_FIELDS}
