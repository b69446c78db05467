"""The tablet's question to the worklist: who may ask, what is told by which name, and that nothing else waits for it."""

import asyncio
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.config import DicomConfig, FeaturesConfig
from edge.tablet import worklist as asking
from edge.tablet.commands import COMMANDS, obey
from edge.tablet.wire import MalformedCommand, Request, read_text

sys.path.insert(0, str(Path(__file__).parents[2]))

from worklist_server import expected, worklist_server

UID = "1.2.826.0.1.3680043.8.498.1"
LINE = expected(
    PatientName="Diallo^Awa", PatientID="P-7", PatientBirthDate="19810405", PatientSex="F", AccessionNumber="A-12", StudyInstanceUID=UID
)


class Desk:
    """What the command needs of the gateway."""

    def __init__(self, **dicom):
        self.secure, self.asking_worklist, self.dicom, self.features = True, False, DicomConfig(**dicom), FeaturesConfig()
        self.client = SimpleNamespace(name="iPad", tell=lambda message: self.told.append(message), allowance=self)
        self.lease = SimpleNamespace(holder=self.client)
        self.told, self.notes, self.jobs = [], [], []

    take = staticmethod(lambda: True)

    def note(self, *words):
        self.notes.append(words)

    def start_job(self, work):
        self.jobs.append(asyncio.ensure_future(work))


def asked(desk, date="2026-11-27"):
    """The answer, and the message that followed."""

    async def story():
        answer = await obey(desk, desk.client, Request(5, "worklist", date=date))
        await asyncio.gather(*desk.jobs)
        await asyncio.sleep(0)
        return answer

    answer = asyncio.run(story())
    return answer, desk.told[-1] if desk.told else None


def test_who_is_expected_is_told_to_the_tablet_that_asks_and_noted_without_names():
    with worklist_server(LINE, expected(PatientID="P-8", PatientName="Sow^Omar"), expected(PatientName="")) as server:
        desk = Desk(worklist_host="127.0.0.1", worklist_port=server.port)
        answer, told = asked(desk)
    assert answer == {"type": "answer", "id": 5, "ok": True}
    assert (told["type"], told["id"], told["date"], told["error"], told["left_out"]) == ("worklist", 5, "2026-11-27", "", 1)
    exam = {
        "patient_name": "Diallo, Awa",
        "patient_id": "P-7",
        "birth_date": "1981-04-05",
        "sex": "F",
        "accession": "A-12",
        "study_uid": UID,
    }
    assert {"exam": exam, "when": "2026-11-27 0930", "what": "Thyroid"} in told["entries"] and len(told["entries"]) == 2
    step = server.asked[0].ScheduledProcedureStepSequence[0]
    assert (step.ScheduledProcedureStepStartDate, step.Modality) == ("20261127", "US")
    assert desk.notes == [("worklist", "iPad", " done"), ("worklist told", "iPad", "2 entries, 1 left out")]
    assert not desk.asking_worklist


def test_what_is_wrong_has_a_name(monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        _, told = asked(Desk(worklist_host="127.0.0.1", worklist_port=nobody.getsockname()[1]))
        assert told["error"] == "WORKLIST_UNREACHABLE" and told["entries"] == []
    with worklist_server() as server:
        server.status = 0xA900
        desk = Desk(worklist_host="127.0.0.1", worklist_port=server.port)
        assert asked(desk)[1]["error"] == "WORKLIST_REFUSED" and desk.notes[-1][2] == "WORKLIST_REFUSED"
    assert asked(Desk())[0]["error"] == "WORKLIST_MISSING"
    assert asked(Desk(worklist_host="127.0.0.1", tls_ca="/nowhere"))[1]["error"] in ("WORKLIST_MISSING", "WORKLIST_UNREACHABLE")
    monkeypatch.setattr(asking, "NEEDS", ("pydicom", "no_such_library"))
    assert asked(Desk(worklist_host="127.0.0.1"))[0]["error"] == "DICOM_MISSING"


def test_only_over_https_and_only_for_the_operator():
    plain = Desk(worklist_host="127.0.0.1")
    plain.secure = False
    assert asked(plain)[0]["error"] == "WORKLIST_OVER_HTTP" and not plain.jobs
    looks = Desk(worklist_host="127.0.0.1")
    looks.lease.holder = None
    assert asked(looks)[0]["error"] == "NO_OPERATOR_LEASE" and not looks.jobs
    assert COMMANDS["worklist"].operator


def test_nothing_waits_for_a_worklist_that_is_silent_and_it_is_asked_once(monkeypatch):
    monkeypatch.setattr(asking, "WITHIN_S", 1.0)

    async def story(desk, server):
        first = await obey(desk, desk.client, Request(1, "worklist"))
        second = await obey(desk, desk.client, Request(2, "worklist"))
        turns = 0
        while not desk.told:
            turns += 1
            await asyncio.sleep(0.01)
        third = await obey(desk, desk.client, Request(3, "worklist"))
        server.gate.set()
        while desk.asking_worklist:
            await asyncio.sleep(0.01)
        fourth = await obey(desk, desk.client, Request(4, "worklist"))
        await asyncio.gather(*desk.jobs)
        return first, second, third, fourth, turns

    with worklist_server(LINE) as server:
        server.gate.clear()
        desk = Desk(worklist_host="127.0.0.1", worklist_port=server.port)
        first, second, third, fourth, turns = asyncio.run(story(desk, server))
    assert first["ok"] and second["error"] == third["error"] == "WORKLIST_ASKED" and fourth["ok"]
    assert turns > 5, "the loop turned while the network was silent"
    assert desk.told[0]["error"] == "WORKLIST_UNREACHABLE" and desk.told[1]["error"] == "" and len(desk.told[1]["entries"]) == 1


def test_who_lost_the_lease_meanwhile_is_told_no_names():
    with worklist_server(LINE) as server:
        desk = Desk(worklist_host="127.0.0.1", worklist_port=server.port)

        async def story():
            await obey(desk, desk.client, Request(1, "worklist"))
            desk.lease.holder = None
            await asyncio.gather(*desk.jobs)

        asyncio.run(story())
    assert desk.told[0]["error"] == "NO_OPERATOR_LEASE" and "Diallo" not in str(desk.told)


def test_a_date_that_is_none_is_refused():
    assert read_text('{"id": 1, "do": "worklist", "date": "2026-11-27"}').date == "2026-11-27"
    with pytest.raises(MalformedCommand):
        read_text('{"id": 1, "do": "worklist", "date": "2026\\\\*"}')
