"""The local door: whoever stands at the device (a command, a button's script) opens pairing or starts and stops a sweep.

One request, one answer, MessagePack over an ipc socket in the run directory: its file's rights are the key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from edge.bus import ipc, remove_socket_file
from edge.errors import SonosweepError

NAME = "tablet-control"
WAIT_MS = 5000


class NoGateway(SonosweepError):
    """The gateway does not answer."""


async def answer(context: zmq.asyncio.Context, run_dir: Path, obey: Callable[[str], Awaitable[dict[str, Any]]]) -> None:
    """Serve until cancelled; ``obey`` gets a word and answers."""
    endpoint = ipc(run_dir, NAME)
    socket = context.socket(zmq.REP)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, 1024)
    socket.bind(endpoint)
    try:
        while True:
            word = (await socket.recv()).decode(errors="replace")
            await socket.send(msgspec.msgpack.encode(await obey(word)))
    finally:
        socket.close(0)
        remove_socket_file(endpoint)


def ask(run_dir: Path, word: str) -> dict[str, Any]:
    """Say ``word`` to the gateway of this run directory. ``NoGateway``."""
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(ipc(run_dir, NAME))
        socket.send(word.encode())
        if not socket.poll(WAIT_MS):
            raise NoGateway(f"no gateway answers in {run_dir}; start one: sonosweep tablet --run-dir {run_dir}")
        told: dict[str, Any] = msgspec.msgpack.decode(socket.recv())
        return told
