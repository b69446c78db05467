"""What goes to the journal: a priority for the machine, a sentence for people, fields for whoever searches."""

import os
import subprocess
import sys

from edge.faults import FAULTS

SAY = """from edge.journal import say_fault
from edge.console import say
from edge.messages import FaultRaised
say("run: two\\nlines")
say_fault(FaultRaised(service="run", name="FRAMES_LOST", detail="9 before frame 20", boot_id=255, sweep=0, sequence=20))
say_fault(FaultRaised(service="record", name="DISK_FULL"))
say_fault(FaultRaised(service="bridge", name="FRAMES_BRIDGED"))"""


def said(stream):
    """What a process says whose stderr is a pipe, with JOURNAL_STREAM naming that pipe or another."""
    reads, writes = os.pipe()
    pipe = os.fstat(writes)
    named = {"own": f"{pipe.st_dev}:{pipe.st_ino}", "another": "1:1"}
    environment = os.environ | ({"JOURNAL_STREAM": named[stream]} if stream else {})
    subprocess.run([sys.executable, "-c", SAY], stderr=writes, env=environment, check=True)
    os.close(writes)
    with os.fdopen(reads) as out:
        return out.read().splitlines()


def test_in_the_journal_each_line_has_its_priority_and_a_fault_its_fields():
    lines = said("own")
    assert lines[:2] == ["<6>run: two", "<6>lines"]
    words = FAULTS["FRAMES_LOST"].operator
    assert lines[2] == f"<3>FRAMES_LOST: {words} (9 before frame 20) [service=run boot_id=00000000000000ff sweep=0 sequence=20]"
    assert lines[3].startswith("<2>DISK_FULL: ") and lines[3].endswith("[service=record]")
    assert lines[4].startswith("<4>FRAMES_BRIDGED: ")


def test_at_a_terminal_or_in_a_file_there_is_none():
    for stream in ("", "another"):
        assert said(stream)[0] == "run: two"
