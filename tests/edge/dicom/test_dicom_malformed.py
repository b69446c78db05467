"""What comes from files and from the network is DICOM or is refused by name, within a second and without growing."""

import io
import random
import resource
import socket
import struct
import time

import msgspec
import pytest
from dicom_cases import EXAM, FACTS, ORIGIN, exam, phantom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt
from pynetdicom.dsutils import decode
from pynetdicom.sop_class import ModalityWorklistInformationFind, StorageCommitmentPushModel

from edge.config import ConfigError, DicomConfig
from edge.dicom.commitment import Report, parse_report, request
from edge.dicom.errors import ExamNotDicom, MalformedDicom, SonosweepError, Unreachable, WorklistRefused
from edge.dicom.exam import describe
from edge.dicom.network import COMMITMENT_INSTANCE, LARGEST_REPORT, listening
from edge.dicom.objects import write_object
from edge.dicom.queue import Queue
from edge.dicom.reading import read_header
from edge.dicom.stow import StowRs, read_answer
from edge.dicom.volumes import ultrasound_volume
from edge.dicom.worklist import ask, query, read_item

MUTATIONS = 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "a.dcm"
    return write_object(path, ultrasound_volume(phantom(), exam(), ORIGIN, FACTS, DicomConfig())).read_bytes()


def test_a_file_cut_anywhere_is_refused_by_name(tmp_path, whole):
    path = tmp_path / "cut.dcm"
    for at in range(0, len(whole), 41):
        path.write_bytes(whole[:at])
        with pytest.raises(MalformedDicom):
            Queue(tmp_path / "q").add(path)
    path.write_bytes(whole)
    assert Queue(tmp_path / "q").add(path).state == "waiting"


def test_mutated_files_are_taken_or_refused_by_name_and_nothing_else(tmp_path, whole):
    path, luck, refused = tmp_path / "m.dcm", random.Random(5), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(MUTATIONS):
        data = bytearray(whole)
        for _ in range(luck.randint(1, 8)):
            at = luck.randrange(len(data) - 2000 if luck.random() < 0.9 else len(data))
            data[at : at + luck.choice((1, 1, 2, 4))] = luck.randbytes(luck.choice((1, 2, 4)))
        path.write_bytes(data)
        began = time.process_time()
        try:
            read_header(path)
        except MalformedDicom:
            refused += 1
        assert time.process_time() - began < 1
    assert 20 < refused and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_deflated_and_deeply_nested_files_are_refused(tmp_path, whole):
    path = tmp_path / "bomb.dcm"
    path.write_bytes(whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1))
    with pytest.raises(MalformedDicom):
        read_header(path)
    nested = struct.pack("<HH2s2xI", 0x0008, 0x1111, b"SQ", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(whole + nested * 50_000)
    began = time.process_time()
    with pytest.raises(MalformedDicom):
        read_header(path)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"TransactionUID": "1.2"},
        {"TransactionUID": "../../x", "uid": "1.2.3"},
        {"TransactionUID": "1.2", "uid": "../../etc/passwd"},
    ],
)
def test_a_report_that_is_none_is_refused(values):
    ds = Dataset()
    if "TransactionUID" in values:
        ds.add_new(0x00081195, "LO", values["TransactionUID"])
    if "uid" in values:
        item = Dataset()
        item.add_new(0x00081155, "LO", values["uid"])
        ds.ReferencedSOPSequence = Sequence([item])
    if values == {"TransactionUID": "1.2"}:
        assert parse_report(ds) == Report("1.2", frozenset(), {})
    else:
        with pytest.raises(MalformedDicom):
            parse_report(ds)


def reported(port, ds):
    """Send a report as a PACS would; answers the status, or None where we hung up."""
    entity = AE(ae_title="PACS")
    entity.add_requested_context(StorageCommitmentPushModel)
    entity.dimse_timeout = entity.network_timeout = 5
    deadline = time.monotonic() + 20  # connections full of garbage are given up one by one
    while not (assoc := entity.associate("127.0.0.1", port, ae_title="SONOSWEEP")).is_established:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    status, _ = assoc.send_n_event_report(ds, 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
    if assoc.is_established:
        assoc.release()
    return status.get("Status")


def test_the_listener_outlives_garbage_and_still_hears_reports(config):
    heard, luck = [], random.Random(3)
    good = request("2.25.7", [("1.2.840.10008.5.1.4.1.1.6.2", "2.25.8")])
    with listening(config, heard.append) as port:
        for number in range(30):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(bytes([luck.choice((1, 2, 4, 5, 7, 255)), 0]) + luck.randbytes(luck.choice((3, 60, 400))))
                if number % 3 == 0:
                    line.sendall(b"\x01\x00\xff\xff\xff\xff")
        assert reported(port, good) == 0 and heard == [Report("2.25.7", frozenset({"2.25.8"}), {})]
        bad = Dataset()
        bad.TransactionUID = ""
        assert reported(port, bad) == 0x0110 and len(heard) == 1
        huge = request("2.25.7", [("1.2", "2.25.8")])
        huge.add_new(0x00091010, "OB", b"\0" * (LARGEST_REPORT + 100_000))
        assert reported(port, huge) is None and len(heard) == 1
        assert reported(port, good) == 0


@pytest.fixture
def worklist(config):
    """A worklist's server that answers whatever ``answers`` holds."""
    answers = []
    entity = AE(ae_title="WORKLIST")
    entity.add_supported_context(ModalityWorklistInformationFind)

    def handle(event):
        yield from answers

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, handle)])
    answers_config = DicomConfig(worklist_host="127.0.0.1", worklist_port=server.server_address[1], timeout_s=20)
    yield answers_config, answers
    entity.shutdown()


def patient(**values):
    ds = Dataset()
    for key, value in ({"PatientName": "A^B", "PatientID": "1"} | values).items():
        setattr(ds, key, value)
    return ds


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Doe^John", "Doe, John"),
        ("Doe^John^^^", "Doe, John"),
        ("Doe", "Doe"),
        ("Doe^John^Adam^Dr", None),
        ("Doe^John^^Dr^Jr", None),
        ("^Sukarno", None),
        ("Doe, Jr^John", None),
        ("Doe, Jr", "Doe, Jr^"),
        ("x" * 64, "x" * 64),
        ("x" * 40 + "^" + "y" * 23, "x" * 40 + ", " + "y" * 23),
        ("x" * 40 + "^" + "y" * 23 + "=" + "z" * 64, None),
        ("Wang=王", "Wang=王^"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", None),
    ],
)
def test_a_name_of_the_worklist_goes_back_to_the_pacs_as_it_came(name, shown):
    taken = read_item(patient(PatientName=name)).exam
    assert taken["patient_name"] == (name if shown is None else shown)
    back = Dataset()
    describe(back, exam(fields={**EXAM, **taken}))
    assert str(back.PatientName).rstrip("^") == name.rstrip("^")


def test_a_name_typed_by_hand_holds_no_sign_of_dicom_s_and_no_group_is_too_long():
    for wrong in ("a=b", "a^b=" + "x" * 65, "a^b=c=d=e", "a\\b"):
        with pytest.raises(ExamNotDicom):
            describe(Dataset(), exam(fields=EXAM | {"patient_name": wrong}))


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value")
def test_malformed_answers_of_the_worklist_are_counted_and_left_out(worklist):
    config, answers = worklist
    nobody, hostile = patient(PatientName="", PatientID=""), patient()
    hostile.add_new(0x00100030, "LO", "not a date")
    hostile.add_new(0x0020000D, "LO", "../../passwd")
    hostile.add_new(0x00100010, "LO", "Eve\x00\x1b[31m" + "x" * 70)
    answers += [(0xFF00, patient()), (0xFF00, nobody), (0xFF00, hostile), (0x0000, None)]
    found, malformed = ask(config, query())
    assert malformed >= 1 and len(found) <= 2 and found[0].exam == {"patient_name": "A, B", "patient_id": "1"}
    taken = read_item(hostile).exam
    assert set(taken) == {"patient_name", "patient_id"} and taken["patient_name"].isprintable()


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value", "ignore:The PN component")
@pytest.mark.parametrize(("key", "field"), [("PatientName", "patient_name"), ("PatientID", "patient_id"), ("AccessionNumber", "accession")])
def test_what_names_a_patient_is_never_cut_and_refused_by_name_where_dicom_does_not_take_it(key, field):
    taken = read_item(patient(**{key: "7" * 70})).exam
    assert taken[field].rstrip("^") == "7" * 70
    with pytest.raises(ExamNotDicom, match=f"{field} has 70 characters"):
        describe(Dataset(), exam(fields={**EXAM, **taken}))
    with pytest.raises(MalformedDicom, match="501 characters"):
        read_item(patient(**{key: "7" * 501}))


def test_a_worklist_that_refuses_or_never_ends_is_named(worklist, capsys):
    config, answers = worklist
    answers.append((0xA900, None))
    with pytest.raises(WorklistRefused, match="0xA900"):
        ask(config, query())
    answers[:] = [(0xFF00, patient())] * 2000
    found, _ = ask(config, query())
    assert len(found) == 500 and "more than 500 answers" in capsys.readouterr().err
    told = []
    answers[:] = [(0xFF00, patient())] * 501
    assert len(ask(config, query(), told.append)[0]) == 500 and len(told) == 1
    answers[:] = [(0xFF00, patient())] * 500
    assert len(ask(config, query(), told.append)[0]) == 500 and len(told) == 1
    assert not capsys.readouterr().err


def test_a_worklist_that_sends_without_end_is_hung_up_on(worklist, monkeypatch):
    monkeypatch.setattr("edge.dicom.network.LARGEST_TALK", 1 << 20)
    config, answers = worklist
    large = patient()
    large.add_new(0x00091010, "OB", bytes(3 << 20))
    answers += [(0xFF00, large), (0x0000, None)]
    with pytest.raises(Unreachable):
        ask(msgspec.structs.replace(config, timeout_s=5.0), query())


@pytest.mark.parametrize("field", ["PatientID", "AccessionNumber"])
def test_two_numbers_in_the_place_of_one_are_malformed(field):
    assert read_item(patient(**{field: "A 123"})).exam
    with pytest.raises(MalformedDicom, match="two values"):
        read_item(patient(**{field: "A 123\\456"}))


def test_read_item_survives_anything_in_an_identifier():
    luck, refused = random.Random(1), 0
    for _ in range(500):
        data = b""
        for tag in (0x00080050, 0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x0020000D, 0x00400100):
            value = luck.randbytes(luck.choice((0, 2, 8, 30)))
            kind = luck.choice((b"LO", b"PN", b"DA", b"US", b"UI", b"DS", b"FD"))
            data += struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, kind, len(value)) + value
        try:
            read_item(decode(io.BytesIO(data), False, True))
        except MalformedDicom:
            refused += 1
    assert 0 < refused < 500


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1, 2]", b"null", b"{", b"[" * 100_000, b'{"00081199": {"Value": [null, 3]}}'])
def test_a_server_that_does_not_say_what_it_stored_has_not_stored_it(body):
    for status in (200, 202, 500):
        assert read_answer("1.2.3", status, body).kind == "later"
    assert read_answer("1.2.3", 409, body).kind == "refused"


def test_stow_answers_are_believed_only_of_the_object_that_was_sent():
    stored = b'{"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.3"]}}]}, "00081198": {"vr": "SQ"}}'
    assert read_answer("1.2.3", 200, stored).kind == "stored" and read_answer("1.2.4", 200, stored).kind == "later"
    failed = b'{"00081198": {"Value": [{"00081155": {"Value": ["1.2.3"]}, "00081197": {"Value": [43264]}}]}}'
    assert read_answer("1.2.3", 202, failed).kind == "refused" and "43264" in read_answer("1.2.3", 202, failed).words


def test_a_url_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="DICOMweb root"):
        StowRs(DicomConfig(stow_url="file:///etc"))
    assert issubclass(MalformedDicom, SonosweepError)
