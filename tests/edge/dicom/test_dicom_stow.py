"""What goes over STOW-RS is one whole part of a multipart message; what goes wrong on the way is tried again and never taken for stored."""

import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from dicom_cases import FACTS, ORIGIN, exam, phantom

from edge.config import ConfigError, DicomConfig
from edge.dicom.objects import write_object
from edge.dicom.queue import Queue
from edge.dicom.sender import Sender
from edge.dicom.stow import StowRs
from edge.dicom.volumes import ultrasound_volume


class Server(BaseHTTPRequestHandler):
    """Answers as it is told to, and keeps what it was sent."""

    answers, asked = [], []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, dict(self.headers), body))
        status, text = self.answers.pop(0)
        if status is None:
            self.connection.close()
            return
        text = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    Server.answers, Server.asked = [], []
    made = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def stored(uid):
    return f'{{"00081199": {{"vr": "SQ", "Value": [{{"00081155": {{"vr": "UI", "Value": ["{uid}"]}}}}]}}}}'


def test_the_object_is_one_whole_part_and_every_failure_is_tried_again(server, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    config = DicomConfig(stow_url=f"http://127.0.0.1:{server.server_port}/dw/", stow_token=str(tmp_path / "token"), timeout_s=5)
    path = write_object(tmp_path / "a.dcm", ultrasound_volume(phantom(), exam(), ORIGIN, FACTS, DicomConfig()))
    queue = Queue(tmp_path / "queue")
    uid = queue.add(path).uid
    sender = Sender(queue, StowRs(config), config, commit=False)
    failures = [(503, "maintenance"), (401, "who are you"), (200, "<html>"), (200, stored("1.2.3")), (None, "")]
    Server.answers += [*failures, (200, stored(uid))]
    for _ in failures:
        sender.step(force=True)
        assert queue.entry(uid).state == "waiting" and queue.object(uid).exists()
    assert "127.0.0.1" in sender.unreachable
    sender.step(force=True)
    assert queue.entry(uid).state == "stored" and not sender.unreachable and sender.step(force=True) == 0
    where, headers, body = Server.asked[-1]
    assert where == "/dw/studies" and headers["Authorization"] == "Bearer s3cret"
    (part,) = message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body).get_payload()
    assert part.get_content_type() == "application/dicom" and body.split(b"\r\n\r\n", 1)[1].startswith(path.read_bytes())


def test_a_token_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="stow_token"):
        StowRs(msgspec.structs.replace(DicomConfig(stow_url="https://pacs/x"), stow_token=str(tmp_path / "none")))
