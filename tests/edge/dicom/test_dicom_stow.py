"""What goes over STOW-RS is one whole part of a multipart message; what goes wrong on the way is tried again and never taken for stored."""

import re
import socket
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from dicom_cases import FACTS, ORIGIN, exam, phantom

from edge.config import ConfigError, DicomConfig
from edge.dicom.errors import Unreachable
from edge.dicom.objects import write_object
from edge.dicom.queue import Queue
from edge.dicom.sender import Outcome, Sender
from edge.dicom.stow import StowRs
from edge.dicom.volumes import ultrasound_volume


class Server(BaseHTTPRequestHandler):
    """Answers as it is told to, and keeps what it was sent."""

    answers, asked = [], []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, dict(self.headers), body))
        status, text, *more = self.answers.pop(0)
        if status is None:
            self.connection.close()
            return
        text = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        for name, value in more:
            self.send_header(name, value)
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
    assert "the connection broke while this object was sent" in queue.entry(uid).words
    sender.step(force=True)
    assert queue.entry(uid).state == "stored" and not sender.unreachable and sender.step(force=True) == 0
    where, headers, body = Server.asked[-1]
    assert where == "/dw/studies" and headers["Authorization"] == "Bearer s3cret"
    (part,) = message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body).get_payload()
    assert part.get_content_type() == "application/dicom" and body.split(b"\r\n\r\n", 1)[1].startswith(path.read_bytes())


def test_a_token_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="stow_token"):
        StowRs(msgspec.structs.replace(DicomConfig(stow_url="https://pacs/x"), stow_token=str(tmp_path / "none")))


def failed(uid, reason):
    return f'{{"00081198": {{"Value": [{{"00081155": {{"Value": ["{uid}"]}}, "00081197": {{"Value": [{reason}]}}}}]}}}}'


def test_an_object_that_the_pacs_has_already_is_stored_and_a_409_that_does_not_say_so_is_told_as_it_is(server, tmp_path, files):
    queue = Queue(tmp_path / "queue")
    entry = queue.add(files[0])

    def answered(status, text, entry=entry):
        Server.answers = [(status, text)]
        ((_, outcome),) = StowRs(DicomConfig(stow_url=f"http://127.0.0.1:{server.server_port}")).store([(entry, queue.object(entry.uid))])
        return outcome

    assert answered(409, failed(entry.uid, 0x0111)) == Outcome("stored", "the PACS says that it has it already")
    assert answered(409, failed(entry.uid, 0x0110)).kind == "refused"
    tried = msgspec.structs.replace(entry, attempts=1)
    assert "may have it" not in answered(409, "").words and "may have it from an attempt before" in answered(409, "", tried).words


def test_a_redirect_takes_the_token_nowhere(server, tmp_path, files):
    (tmp_path / "token").write_text("s3cret")
    config = DicomConfig(stow_url=f"http://127.0.0.1:{server.server_port}/dw", stow_token=str(tmp_path / "token"), timeout_s=20)
    queue = Queue(tmp_path / "queue")
    entry = queue.add(files[0])
    for status in (301, 302, 303, 307, 308):
        Server.answers = [(status, "", ("Location", f"http://127.0.0.1:{server.server_port}/elsewhere"))]
        Server.asked.clear()
        ((_, outcome),) = StowRs(config).store([(entry, queue.object(entry.uid))])
        assert outcome.kind == "later" and f"HTTP {status}" in outcome.words and "stow_url" in outcome.words
        assert [where for where, _, _ in Server.asked] == ["/dw/studies"]


def refusing(listener, most, answers):
    """As nginx: answers 413 to what is too large and closes, and never reads it."""
    while answers:
        connection, _ = listener.accept()
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(1 << 16)
            head, body = data.split(b"\r\n\r\n", 1)
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])
            if length > most:
                connection.sendall(b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                continue
            while len(body) < length:
                body += connection.recv(1 << 16)
            text = stored(answers.pop()).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


def test_an_object_that_is_too_large_is_refused_and_the_next_is_stored(tmp_path, files):
    queue = Queue(tmp_path / "queue")
    large, small = (queue.add(path) for path in files[:2])
    with queue.object(large.uid).open("ab") as file:
        file.truncate(32 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refusing, args=(listener, 1 << 20, [small.uid]), daemon=True)
        thread.start()
        config = DicomConfig(stow_url=f"http://127.0.0.1:{listener.getsockname()[1]}/dw", timeout_s=20)
        told = StowRs(config).store([(one, queue.object(one.uid)) for one in (large, small)])
        kinds = [outcome.kind for _, outcome in told]
    assert kinds == ["refused", "stored"]


def test_where_nobody_listens_nothing_is_tried(tmp_path, files):
    queue = Queue(tmp_path / "queue")
    objects = [(entry, queue.object(entry.uid)) for entry in map(queue.add, files)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        next(StowRs(DicomConfig(stow_url=f"http://127.0.0.1:{port}/dw", timeout_s=20)).store(objects))
