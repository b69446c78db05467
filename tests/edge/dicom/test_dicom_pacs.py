"""A real PACS (Orthanc) and real tools (DCMTK): it stores, commits itself, gives back the same bytes, and tells who is expected."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest
from dicom_cases import EXAM, SWEEP, needs
from free_port import free_port

from edge.app import main
from edge.dicom.errors import Unreachable
from edge.dicom.queue import Queue
from edge.dicom.sweeps import of_library, write_sweep

PATIENT = ("--wait", "60")  # for the PACS's commitment, on a busy machine
PLUGINS = Path("/usr/share/orthanc/plugins")


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def until(true, process):
    """Wait for it; the process must not end meanwhile."""
    deadline = time.monotonic() + 60
    while not true():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


class Orthanc:
    """The PACS in a folder; it can go and come back."""

    def __init__(self, folder, our_port, **changes):
        self.folder, self.http, self.dicom = folder, free_port(), free_port()
        (folder / "worklists").mkdir(parents=True)
        plugins = [str(path) for name in ("ModalityWorklists", "OrthancDicomWeb") if (path := PLUGINS / f"lib{name}.so").exists()]
        settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "DicomModalities": {"sonosweep": ["SONOSWEEP", "127.0.0.1", our_port]},
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "UnknownSopClassAccepted": True,
            "Plugins": plugins,
            "Worklists": {"Enable": True, "Database": str(folder / "worklists")},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "orthanc.json").write_text(json.dumps(settings | changes))
        self.process = None
        self.has_dicomweb = any("DicomWeb" in one for one in plugins)

    def start(self):
        program = needs("Orthanc", "orthanc orthanc-dicomweb")
        self.process = subprocess.Popen([program, self.folder / "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.get("/system")
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, "Orthanc does not start"
                time.sleep(0.1)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return answer.read()

    def objects(self):
        """What it holds: UID to dataset."""
        found = {}
        for one in json.loads(self.get("/instances")):
            (self.folder / "back.dcm").write_bytes(self.get(f"/instances/{one}/file"))
            ds = pydicom.dcmread(self.folder / "back.dcm")
            found[str(ds.SOPInstanceUID)] = ds
        return found


@pytest.fixture
def pacs(tmp_path, config):
    """A running Orthanc and a configuration file that knows it."""
    ours = free_port()
    orthanc = Orthanc(tmp_path / "orthanc", ours)
    orthanc.start()
    orthanc.config = tmp_path / "edge.toml"
    orthanc.ours = ours
    write_config(orthanc, tmp_path)
    yield orthanc
    orthanc.stop()


def write_config(pacs, tmp_path, *more):
    pacs.config.write_text(
        f'[record]\nfolder = "{tmp_path / "sweeps"}"\n[dicom]\nfolder = "{tmp_path / "queue"}"\naddress = "127.0.0.1"\nport = {pacs.ours}\n'
        f'pacs_host = "127.0.0.1"\npacs_port = {pacs.dicom}\npacs_aet = "ORTHANC"\ntimeout_s = 20\n'
        f'worklist_host = "127.0.0.1"\nworklist_port = {pacs.dicom}\nworklist_aet = "ORTHANC"\n' + "\n".join(more)
    )


def test_a_sweep_is_stored_committed_and_comes_back_as_it_was(library, pacs, tmp_path, config, capsys):
    assert main(["dicom", "send", *PATIENT, SWEEP, "--config", str(pacs.config), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["committed"] * 5, rows
    made = {
        str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, write_sweep(of_library(library, SWEEP), tmp_path / "o", config).files)
    }
    back = pacs.objects()
    assert back.keys() == made.keys()
    for uid, ds in back.items():
        np.testing.assert_array_equal(ds.pixel_array, made[uid].pixel_array)
        assert ds.PatientID == EXAM["patient_id"] and ds.get("ImageComments") == made[uid].ImageComments
    assert not list((tmp_path / "queue").glob("*.dcm")), "what is committed need not be kept"
    assert main(["dicom", "send", *PATIENT, SWEEP, "--config", str(pacs.config), "--json"]) == 0
    assert len(pacs.objects()) == 5 and json.loads(pacs.get("/statistics"))["CountInstances"] == 5


def test_what_was_queued_without_a_network_is_sent_when_it_returns(library, pacs, tmp_path, capsys):
    pacs.stop()
    assert main(["dicom", "send", *PATIENT, SWEEP, "--config", str(pacs.config), "--json", "--what", "volume"]) == 1
    told = capsys.readouterr()
    assert [row["state"] for row in json.loads(told.out)] == ["waiting"] * 2 and "stays in the queue" in told.err
    pacs.start()
    assert main(["dicom", "send", *PATIENT, "--config", str(pacs.config), "--json"]) == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["committed"] * 2
    assert len(pacs.objects()) == 2


def test_watch_sends_by_itself_when_the_network_returns(library, pacs, tmp_path):
    write_config(pacs, tmp_path, "retry_s = 0.5", "longest_retry_s = 1")
    pacs.stop()
    words = [sys.executable, "-m", "edge", "dicom", "send", SWEEP, "--watch", "--config", str(pacs.config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as watch:
        said = []
        reader = threading.Thread(target=said.extend, args=(watch.stderr,))
        reader.start()
        try:
            until(lambda: "nobody answers" in "".join(said), watch)
            pacs.start()
            queue = Queue(tmp_path / "queue")
            until(lambda: {entry.state for entry in queue.entries()} == {"committed"}, watch)
            until(lambda: "the PACS answers" in "".join(said), watch)
        finally:
            watch.terminate()
            reader.join()
    assert watch.returncode == 0


def test_stow_rs_stores_the_same_objects(library, pacs, tmp_path, capsys):
    if not pacs.has_dicomweb:
        pytest.skip("orthanc-dicomweb is not installed")
    write_config(pacs, tmp_path, f'stow_url = "http://127.0.0.1:{pacs.http}/dicom-web"')
    assert main(["dicom", "send", *PATIENT, SWEEP, "--config", str(pacs.config), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["stored"] * 5 and pacs.objects().keys() == {row["uid"] for row in rows}
    write_config(pacs, tmp_path, f'stow_url = "http://127.0.0.1:{pacs.http}/nowhere"')
    capsys.readouterr()
    pacs_queue = Queue(tmp_path / "queue")
    for row in rows:
        pacs_queue.drop(row["uid"])
    assert main(["dicom", "send", *PATIENT, SWEEP, "--config", str(pacs.config), "--json", "--what", "volume"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {row["state"] for row in rows} == {"waiting"} and "HTTP 404" in rows[0]["words"]


def test_a_compressed_object_reaches_a_pacs_that_takes_none(library, tmp_path, config, capsys):
    """DCMTK's storescp with -B (uncompressed only) stands for such a PACS."""
    port, folder = free_port(), tmp_path / "scp"
    folder.mkdir()
    scp = subprocess.Popen([needs("storescp", "dcmtk"), "+x=", "-aet", "OLD", "-od", folder, str(port)], stderr=subprocess.DEVNULL)
    toml = tmp_path / "edge.toml"
    toml.write_text(
        f'[record]\nfolder = "{tmp_path / "sweeps"}"\n[dicom]\nfolder = "{tmp_path / "queue"}"\npacs_host = "127.0.0.1"\n'
        f'pacs_port = {port}\npacs_aet = "OLD"\ncommitment = false\ntimeout_s = 20\ncompression = "rle"\n'
    )
    try:
        until(lambda: answers(port), scp)
        main(["dicom", "send", *PATIENT, SWEEP, "--config", str(toml), "--json", "--what", "clip"])
    finally:
        scp.terminate()
        scp.wait(10)
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["stored"], rows
    (kept,) = folder.iterdir()
    assert not pydicom.dcmread(kept).file_meta.TransferSyntaxUID.is_compressed


def test_the_worklist_becomes_fields_of_an_exam(pacs, capsys):
    text = (
        "(0008,0005) CS [ISO_IR 100]\n(0008,0050) SH [ACC-1]\n(0010,0010) PN [Zyblikiewicz^Eve^Maria]\n(0010,0020) LO [PAT-1]\n"
        "(0010,0030) DA [19610405]\n(0010,0040) CS [F]\n(0020,000d) UI [1.2.826.0.1.3680043.9.1]\n(0032,1060) LO [Leg veins]\n"
        "(0040,0100) SQ\n(fffe,e000) na\n(0008,0060) CS [US]\n(0040,0001) AE [SONOSWEEP]\n"
        "(0040,0002) DA [20261127]\n(0040,0003) TM [170000]\n"
        "(fffe,e00d) na\n(fffe,e0dd) na\n"
    )
    (pacs.folder / "one.dump").write_text(text)
    subprocess.run(
        [needs("dump2dcm", "dcmtk"), pacs.folder / "one.dump", pacs.folder / "worklists" / "one.wl"], check=True, capture_output=True
    )
    words = ["dicom", "worklist", "--config", str(pacs.config), "--json"]
    assert main([*words, "--date", "2026-11-27", "--accession", "ACC-1"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["exam"] == {
        "patient_name": "Zyblikiewicz^Eve^Maria",
        "patient_id": "PAT-1",
        "birth_date": "1961-04-05",
        "sex": "F",
        "accession": "ACC-1",
        "study_uid": "1.2.826.0.1.3680043.9.1",
    }
    assert (one["when"], one["what"]) == ("2026-11-27 1700", "Leg veins")
    assert main([*words, "--date", "2026-11-28"]) == 0 and json.loads(capsys.readouterr().out) == []


def test_a_pacs_that_is_not_there_is_said_by_name(config):
    from edge.dicom.worklist import ask, query

    with pytest.raises(Unreachable, match="nobody answers"):
        ask(msgspec.structs.replace(config, worklist_host="127.0.0.1", worklist_port=free_port()), query())


def test_an_old_pacs_refuses_the_photoacoustic_image_by_name_and_takes_the_rest(library, tmp_path, capsys):
    ours = free_port()
    orthanc = Orthanc(tmp_path / "old", ours, UnknownSopClassAccepted=False)
    orthanc.config, orthanc.ours = tmp_path / "edge.toml", ours
    write_config(orthanc, tmp_path)
    orthanc.start()
    try:
        assert main(["dicom", "send", *PATIENT, SWEEP, "--config", str(orthanc.config), "--json"]) == 1
        rows = {row["name"].removeprefix(SWEEP): row for row in json.loads(capsys.readouterr().out)}
        assert rows["-photoacoustic"]["state"] == "refused" and "does not take objects of this class" in rows["-photoacoustic"]["words"]
        assert {row["state"] for name, row in rows.items() if name != "-photoacoustic"} == {"committed"}
    finally:
        orthanc.stop()


def test_a_wrong_title_is_said_by_name(library, tmp_path, capsys):
    ours = free_port()
    orthanc = Orthanc(tmp_path / "strict", ours, DicomCheckCalledAet=True, DicomAet="OTHER")
    orthanc.config, orthanc.ours = tmp_path / "edge.toml", ours
    write_config(orthanc, tmp_path)
    orthanc.start()
    try:
        assert main(["dicom", "send", *PATIENT, SWEEP, "--config", str(orthanc.config), "--what", "clip"]) == 1
        assert "refuses us by our title" in capsys.readouterr().err
    finally:
        orthanc.stop()


def test_over_tls_the_pacs_must_be_one_that_we_trust(library, tmp_path, capsys):
    import datetime
    import ssl

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import UltrasoundMultiFrameImageStorage

    now = datetime.datetime.now(datetime.timezone.utc)
    for name in ("pacs", "stranger"):
        key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        made = x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1)
        )
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        (tmp_path / f"{name}.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / f"{name}.key").write_bytes(key.private_bytes(*plain))
    held = []
    entity = AE(ae_title="PACS")
    entity.add_supported_context(UltrasoundMultiFrameImageStorage)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pacs.pem", tmp_path / "pacs.key")
    stored = [(evt.EVT_C_STORE, lambda event: held.append(event.request.AffectedSOPInstanceUID) or 0)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=stored, ssl_context=context)
    try:
        for trusted, state in (("stranger", "waiting"), ("pacs", "stored")):
            (tmp_path / "edge.toml").write_text(
                f'[record]\nfolder = "{tmp_path / "sweeps"}"\n[dicom]\nfolder = "{tmp_path / "queue"}"\npacs_host = "localhost"\n'
                f'pacs_port = {server.server_address[1]}\ncommitment = false\ntimeout_s = 20\ntls_ca = "{tmp_path / trusted}.pem"\n'
            )
            main(["dicom", "send", *PATIENT, SWEEP, "--config", str(tmp_path / "edge.toml"), "--json", "--what", "clip"])
            assert [row["state"] for row in json.loads(capsys.readouterr().out)] == [state]
        assert len(held) == 1
    finally:
        entity.shutdown()


def test_a_sender_killed_again_and_again_loses_nothing_and_sends_no_object_under_two_names(library, pacs, tmp_path, capsys):
    import random

    luck = random.Random(11)
    words = [sys.executable, "-m", "edge", "dicom", "send", SWEEP, "--config", str(pacs.config)]
    begun = time.monotonic()
    subprocess.run([*words, "--only-queue", "--what", "clip"], check=True, capture_output=True)
    start_s = time.monotonic() - begun
    for _ in range(8):
        one = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(start_s * luck.uniform(0.5, 1.6))
        one.kill()
        one.wait()
    assert main(["dicom", "send", *PATIENT, SWEEP, "--config", str(pacs.config), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["committed"] * 5
    assert pacs.objects().keys() == {row["uid"] for row in rows} and json.loads(pacs.get("/statistics"))["CountInstances"] == 5
    left = [path.name for path in (tmp_path / "queue").rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert all(name.endswith(".json") for name in left), left
