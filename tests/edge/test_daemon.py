"""What systemd hands to a process reaches it."""

import json
import os
import socket
import subprocess
import sys

from edge.commands.verdict import Verdict
from edge.daemon import ask_for_real_time, listen_sockets
from edge.services import GONE_AFTER_S

PROGRAM = """import json, os
os.environ["LISTEN_PID"] = str(os.getpid() + int(os.environ.pop("OFF_BY")))
from edge.daemon import ask_for_real_time, listen_sockets
print(json.dumps({name: one.getsockname() for name, one in listen_sockets().items()}))"""


def handed_over(off_by):
    """What a process finds that was started with a listening socket as its descriptor 3."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        environment = os.environ | {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "tablet", "OFF_BY": str(off_by)}
        fd = listening.fileno()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            pass_fds=(fd, 3),
            preexec_fn=lambda: os.dup2(fd, 3),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout), list(listening.getsockname())


def test_a_socket_of_a_socket_unit_is_found_by_its_name():
    found, listening = handed_over(0)
    assert found == {"tablet": listening}


def test_sockets_for_another_process_are_left_alone():
    assert handed_over(1)[0] == {}
    assert listen_sockets() == {}


def test_refused_real_time_is_said_and_nothing_ends(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *words: asked.append(words))
    assert ask_for_real_time(10)
    assert asked[0][1] == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK and asked[0][2].sched_priority == 10

    def refuse(*words):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert not ask_for_real_time(10)


def fed(seconds, *heard):
    verdict = Verdict(("bridge", "run"), seconds)
    for name, now in heard:
        verdict.hear(name, now)
    return verdict


def test_a_boot_is_good_when_all_were_heard_for_so_long():
    steady = [(name, at / 2) for at in range(10) for name in ("bridge", "run")]
    assert fed(4.0, *steady).missing(4.5) == []
    assert fed(5.0, *steady).missing(4.5) == ["bridge", "run"]
    assert fed(4.0, *steady[::2]).missing(4.5) == ["run"]


def test_a_gap_begins_the_time_anew_and_silence_now_counts():
    steady = [("bridge", at / 2) for at in range(10)] + [("run", at / 2) for at in (0, 1, 2, 6, 7, 8, 9)]
    assert fed(4.0, *steady).missing(4.5) == ["run"]
    assert fed(1.0, *steady).missing(4.5 + GONE_AFTER_S) == ["bridge", "run"]
