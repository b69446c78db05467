"""The power goes at 100 points of queueing and sending DICOM objects, with the disk's cache reordered: nothing promised is lost.

Run as root by `make boot-test`; a queue that rewrites its entries in place must fail the same checks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random

import numpy as np
import pydicom
import pytest
from power_cut.disk import LoggedDisk, missing, restarted

from edge.config import DicomConfig
from edge.console import say
from edge.dicom import queue as queue_module
from edge.dicom.clips import ultrasound_clip
from edge.dicom.commitment import Report
from edge.dicom.errors import QueueDamaged
from edge.dicom.exam import Exam
from edge.dicom.objects import write_object
from edge.dicom.probe_facts import ProbeFacts
from edge.dicom.queue import Queue
from edge.dicom.sender import Outcome, Sender
from edge.messages import Frame, Geometry

pytestmark = [
    pytest.mark.boot,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="file systems are mounted as root"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "runs"),
]
POINTS, OBJECTS, SEED = 100, 6, 7
CONFIG = DicomConfig(retry_s=0.001, longest_retry_s=0.001)


class Pacs:
    """Holds what it was sent; ``events``: (writes of the disk so far, UID), to know what it held when the power went."""

    def __init__(self, held=(), now=lambda: 0):
        self.held, self.events, self.now, self.asked = dict(held), [], now, []

    def store(self, objects):
        for entry, path in objects:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert self.held.setdefault(entry.uid, digest) == digest, "one UID, two contents"
            self.events.append((self.now(), entry.uid))
            yield entry, Outcome("stored")

    def ask_commitment(self, transaction, entries):
        self.asked.append(Report(transaction, frozenset(one.uid for one in entries if one.uid in self.held), {}))


def objects(folder):
    made = []
    for number in range(OBJECTS):
        geometry = Geometry(width=40, height=30, spacing_mm=(0.1, 0.1))
        pixels = np.random.default_rng(number).integers(0, 255, (30, 40), dtype=np.uint8)
        one = Frame(boot_id=1, sweep=1, sequence=0, timestamp_ns=0, geometry=geometry, pixels=pixels)
        exam = Exam(f"sweep_00000000000000aa_{number:04d}", "2026-11-27T17:00:00Z")
        made.append(write_object(folder / f"{number}.dcm", ultrasound_clip([one], exam, ProbeFacts(), DicomConfig())))
    return made


def moved_on(sender, pacs):
    sender.step(force=True)
    for report in pacs.asked:
        sender.hear(report)
    pacs.asked = []


def cut_everywhere(folder):
    """Point to what was wrong after a cut there."""
    files, disk = objects(folder / "objects"), LoggedDisk(folder)
    promised = []
    pacs = Pacs(now=disk.now)
    with disk.mounted():
        queue = Queue(disk.mount / "queue")
        for path in files:
            uid = queue.add(path).uid
            promised.append((disk.now(), uid))
            if len(promised) % 2 == 0:
                moved_on(Sender(queue, pacs, CONFIG, commit=True), pacs)
    uids, found = {path: str(pydicom.dcmread(path).SOPInstanceUID) for path in files}, {}
    for point, image in disk.cuts(POINTS, random.Random(SEED)):
        with restarted(image, folder / "restarted") as root:
            wrong = []
            try:
                queue = Queue(root / "queue")
                again = Pacs({uid: pacs.held[uid] for at, uid in pacs.events if at <= point})
                sender = Sender(queue, again, CONFIG, commit=True)
                for _ in range(3):
                    moved_on(sender, again)
                kept = {entry.uid for entry in queue.entries()}
                wrong += [f"{uid} is lost" for at, uid in promised if at <= point and not (uid in kept and uid in again.held)]
                wrong += [f"{entry.uid} is {entry.state}: {entry.words}" for entry in queue.entries() if entry.state != "committed"]
                wrong += [f"{uid} is none of ours" for uid in kept if uid not in uids.values()]
            except QueueDamaged as damaged:
                wrong.append(str(damaged))
            if wrong:
                found[point] = wrong
    say(f"{len(disk.entries)} writes and flushes, {POINTS} cuts, {len(found)} of them bad")
    return found


def test_the_queue_for_the_pacs_survives_every_cut(tmp_path):
    assert cut_everywhere(tmp_path) == {}


def test_a_queue_that_rewrites_its_entries_in_place_is_caught(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def in_place(path):
        with path.open("wb") as out:
            yield out

    monkeypatch.setattr(queue_module, "replacing", in_place)
    assert cut_everywhere(tmp_path)
