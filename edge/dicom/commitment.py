"""Storage Commitment: what is asked, and what a report says. Reports come from the network, so nothing in them is believed unread."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from edge.dicom.errors import MalformedDicom
from edge.dicom.reading import is_uid
from edge.files.dicom_errors import MALFORMED, quiet

MOST_OBJECTS = 100_000
REASONS = {  # PS3.3 C.14.1.1
    0x0110: "processing failure",
    0x0112: "it does not have the object",
    0x0119: "the object is of another class there",
    0x0122: "it does not commit itself to this class",
    0x0131: "the transaction is used twice",
    0x0213: "it has no room",
}


class Report(NamedTuple):
    """Of one transaction: the UIDs to which the PACS has committed itself, and why not to others."""

    transaction: str
    committed: frozenset[str]
    failed: dict[str, int]


def transaction_uid() -> str:
    """A new one."""
    return f"2.25.{uuid.uuid4().int}"


def reason_words(reason: int) -> str:
    """For people."""
    return REASONS.get(reason, f"reason 0x{reason:04x}")


def request(transaction: str, objects: Iterable[tuple[str, str]]) -> Dataset:
    """The identifier of an N-ACTION; ``objects`` are (class, UID)."""
    ds = Dataset()
    ds.TransactionUID = transaction
    ds.ReferencedSOPSequence = Sequence([_reference(*one) for one in objects])
    return ds


def parse_report(ds: Dataset) -> Report:
    """``MalformedDicom`` for anything that is no report."""
    try:
        with quiet():
            transaction = str(ds.TransactionUID)
            committed = frozenset(str(one.ReferencedSOPInstanceUID) for one in ds.get("ReferencedSOPSequence") or ())
            failed = {str(one.ReferencedSOPInstanceUID): int(one.FailureReason) for one in ds.get("FailedSOPSequence") or ()}
    except MALFORMED as wrong:
        raise MalformedDicom(f"a report of storage commitment cannot be read: {str(wrong) or type(wrong).__name__}") from wrong
    if len(committed) + len(failed) > MOST_OBJECTS or not all(map(is_uid, (transaction, *committed, *failed))):
        raise MalformedDicom("a report of storage commitment names objects by what are no UIDs, or too many")
    return Report(transaction, committed - failed.keys(), failed)


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item
