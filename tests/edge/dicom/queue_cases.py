"""A PACS and a clock moved by hand, and a sender between them and the queue."""

import hashlib

from edge.config import DicomConfig
from edge.dicom.commitment import Report
from edge.dicom.errors import Unreachable
from edge.dicom.probe_facts import ProbeFacts
from edge.dicom.sender import NO_SUCH_OBJECT, Outcome, Sender

FACTS = ProbeFacts(0.7, 0.4, 40.0, (20.0,), (), 0.0, 6.6, (19.0, 0.0))


class Clock:
    """Of the wall, moved by hand."""

    def __init__(self):
        self.s = 1e9

    def __call__(self):
        return self.s


class Pacs:
    """Keeps what it is sent, counts it, and reports when it is asked to."""

    def __init__(self):
        self.held, self.sent, self.asked, self.answer, self.down = {}, {}, [], Outcome("stored"), False
        self.breaks_on = set()  # UIDs

    def store(self, objects):
        for entry, path in objects:
            if self.down:
                raise Unreachable("the cable is out")
            if entry.uid in self.breaks_on:
                yield entry, Outcome("broke", "the connection broke")
                continue
            if self.answer.kind == "stored":
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                assert self.held.setdefault(entry.uid, digest) == digest, "one UID, two contents"
                self.sent[entry.uid] = self.sent.get(entry.uid, 0) + 1
            yield entry, self.answer

    def ask_commitment(self, transaction, entries):
        if self.down:
            raise Unreachable("the cable is out")
        self.asked.append((transaction, [entry.uid for entry in entries]))

    def reports(self):
        for transaction, uids in self.asked:
            held = frozenset(uid for uid in uids if uid in self.held)
            yield Report(transaction, held, {uid: NO_SUCH_OBJECT for uid in uids if uid not in held})
        self.asked = []


def sender(queue, pacs, clock, **changes):
    config = DicomConfig(**({"retry_s": 1.0, "longest_retry_s": 60.0} | changes.pop("config", {})))
    return Sender(queue, pacs, config, commit=changes.pop("commit", True), now=clock)


def send_everything(queue, pacs, clock):
    """As a device does that stays on: until nothing waits."""
    one = sender(queue, pacs, clock)
    for _ in range(6):
        one.step()
        for report in pacs.reports():
            one.hear(report)
        clock.s += 1000


def states(queue):
    return {entry.name: entry.state for entry in queue.entries()}
