"""The server as a process on a bus of our own: frames, poses and bricks come from here, clients are as the test has them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from edge.bus import FrameQueue, Publisher, ipc
from edge.messages import Frame, Geometry, Message, Pose
from edge.openigtlink.envelope import HEAD_BYTES, Envelope, open_body, parse_head, seal

PATIENCE_S = 20.0


def frame(sequence: int, pixels: np.ndarray, spacing_mm: tuple[float, float] = (0.2, 0.1)) -> Frame:
    """A linear B-mode frame, received now."""
    height, width = pixels.shape
    geometry = Geometry(width=width, height=height, spacing_mm=spacing_mm)
    now = time.monotonic_ns()
    return Frame(boot_id=7, sweep=1, sequence=sequence, timestamp_ns=now, received_ns=now, geometry=geometry, pixels=pixels)


def pose(sequence: int, image_to_reference: np.ndarray) -> Pose:
    """Its pose."""
    numbers = tuple(image_to_reference.reshape(-1).tolist())
    return Pose(boot_id=7, sweep=1, sequence=sequence, timestamp_ns=0, epoch=0, image_to_reference=numbers, source="recorded")


class Bench:
    """``say`` and ``show`` are the bus; ``port`` is the server's."""

    def __init__(self, run_dir: Path, process: subprocess.Popen[bytes], port: int, context: zmq.Context[Any]) -> None:
        self.process, self.port, self.run_dir = process, port, run_dir
        self._run = Publisher(context, ipc(run_dir, "run"))
        self._queue = FrameQueue(context, ipc(run_dir, "frames.igtl"), 2)

    def say(self, message: Message) -> None:
        """As the reconstructor."""
        self._run.say(message)

    def show(self, one: Frame) -> bool:
        """As the bridge."""
        return self._queue.offer(one)

    def cpu_s(self) -> float:
        """What the server has computed so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """What the server holds."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> None:
        """All of it."""
        self.process.terminate()
        self.process.wait(10)
        self._run.close()
        self._queue.close(0)


@contextmanager
def served(*words: str) -> Iterator[Bench]:
    """A server on any free port, started as people start it."""
    with tempfile.TemporaryDirectory(prefix="igtl-") as folder, zmq.Context() as context:
        command = [sys.executable, "-m", "edge", "igtl", "serve", "--run-dir", folder, "--port", "0", *words]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        found = re.search(r":(\d+);", line)
        assert found, line
        reader = threading.Thread(target=process.stderr.read, daemon=True)
        reader.start()
        bench = Bench(Path(folder), process, int(found[1]), context)
        try:
            yield bench
        finally:
            bench.close()
            reader.join(5)
            process.stderr.close()


class Plain:
    """A client without any library."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)

    def send(self, kind: str, device: str = "", content: list[bytes] | None = None, version: int = 1) -> None:
        """Any message."""
        self.socket.sendall(seal(kind, device, time.time_ns(), list(content or []), version))

    def receive(self) -> Envelope:
        """The next message."""
        head = parse_head(self._exactly(HEAD_BYTES))
        return open_body(head, self._exactly(head.body_bytes))

    def until(self, kind: str, device: str = "") -> Envelope:
        """The next message of a kind."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = self.receive()
            if found.kind == kind and device in ("", found.device):
                return found
        raise AssertionError(f"no {kind} {device} came")

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    __del__ = close  # one that a failed test left open would fail another test
