"""A clinic's worklist: a real pynetdicom server that answers what it is given, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityWorklistInformationFind


def expected(time: str = "0930", what: str = "Thyroid", **values: str) -> Dataset:
    """One line of it."""
    ds, step = Dataset(), Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    for name, value in values.items():
        setattr(ds, name, value)
    step.Modality, step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "US", "20261127", time
    step.ScheduledProcedureStepDescription = what
    ds.ScheduledProcedureStepSequence = Sequence([step])
    return ds


@contextmanager
def worklist_server(*lines: Dataset) -> Iterator[SimpleNamespace]:
    """``port``; ``asked``: the queries so far; ``status``: of the end, 0 for well; ``gate``: answers wait for it (open at first)."""
    it = SimpleNamespace(asked=[], status=0, gate=threading.Event())
    it.gate.set()

    def answer(event):
        it.asked.append(event.identifier)
        it.gate.wait(30)
        if it.status == 0:
            yield from ((0xFF00, line) for line in lines)
        yield it.status, None

    entity = AE(ae_title="WORKLIST")
    entity.add_supported_context(ModalityWorklistInformationFind)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    it.port, it.stop = server.server_address[1], entity.shutdown
    try:
        yield it
    finally:
        it.gate.set()
        entity.shutdown()
