"""What the OpenIGTLink server costs, and how fresh its images are beside clients that have stopped reading.

    python bench/igtl.py

Images of 640x480 at 60/s. Prints images/s at the slower of two clients and the server's share of a core, then images/s at one client
beside three that stall, and the age of its oldest image in s.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(2, str(Path(__file__).parents[1] / "tests/edge/openigtlink"))

from igtl_bench import Plain, frame, pose, served

RATE, SECONDS = 60, 4
PIXELS = np.random.default_rng(2).integers(0, 256, (480, 640), dtype=np.uint8)


def feed(bench, seconds):
    """Frames and poses at ``RATE``; answers how long it took."""
    begun = time.monotonic()
    for number in range(int(seconds * RATE)):
        bench.show(frame(number, PIXELS))
        bench.say(pose(number, np.diag([0.2, 0.1, 1.0, 1.0])))
        time.sleep(max(begun + (number + 1) / RATE - time.monotonic(), 0))
    return time.monotonic() - begun


def two_clients():
    """Images a second at the slower of two clients, and the share of a core."""
    with served() as bench:
        counts, clients = [0, 0], [Plain(bench.port) for _ in range(2)]

        def drain(number):
            with contextlib.suppress(OSError):
                while piece := clients[number].socket.recv(1 << 20):
                    counts[number] += len(piece)

        readers = [threading.Thread(target=drain, args=(number,)) for number in (0, 1)]
        for reader in readers:
            reader.start()
        feed(bench, 1.5)
        counts[:] = [0, 0]
        cpu_s = bench.cpu_s()
        seconds = feed(bench, SECONDS)
        told = {"two_clients_hz": min(counts) / seconds / PIXELS.size, "two_clients_core_percent": 100 * (bench.cpu_s() - cpu_s) / seconds}
        for client in clients:
            client.socket.shutdown(socket.SHUT_RDWR)
        for reader in readers:
            reader.join()
        for client in clients:
            client.close()
        return told


def one_of_four_reads():
    """Images a second at a client beside three that have stopped reading, and the age of its oldest."""
    with served() as bench:
        clients = [Plain(bench.port) for _ in range(4)]
        feeder = threading.Thread(target=feed, args=(bench, SECONDS + 3))
        feeder.start()
        clients[0].until("IMAGE")
        images, oldest_s, begun = 0, 0.0, time.monotonic()
        while time.monotonic() - begun < SECONDS:
            shown = clients[0].until("IMAGE")
            images, oldest_s = images + 1, max(oldest_s, time.time() - shown.timestamp_ns / 1e9)
        feeder.join()
        for client in clients:
            client.close()
        return {"beside_stalled_hz": images / SECONDS, "beside_stalled_oldest_s": oldest_s}


if __name__ == "__main__":
    sys.stdout.write(json.dumps({key: round(value, 2) for key, value in (two_clients() | one_of_four_reads()).items()}) + "\n")
