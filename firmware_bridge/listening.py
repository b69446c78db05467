"""The bridge's door with nothing behind it: listens to a front end under test, and hangs up once to see whether it comes back."""

from __future__ import annotations

import time

import zmq
from zmq.utils.monitor import recv_monitor_message

from edge.config import BridgeConfig
from firmware_bridge.heard import Heard
from firmware_bridge.intake import EndpointUnusable, Intake

WAIT_MS = 50
LIVELY_S = 1.0  # one that has sent nothing for so long may have finished
REOPEN_S = 3.0


class Door:
    """An :class:`Intake` that counts who is let in. Closed by ``close``."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], config: BridgeConfig, heard: Heard, *, allow_plaintext: bool) -> None:
        self._intake = Intake(context, config, allow_plaintext=allow_plaintext)
        self._monitor = self._intake.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._heard = heard

    def hear(self, until: float) -> float:
        """Take what comes until then (time.monotonic); answers when the last message came, 0 where none did."""
        last = 0.0
        while (now := time.monotonic()) < until:
            while self._monitor.poll(0):
                recv_monitor_message(self._monitor)
                self._heard.connected()
            if self._intake.socket.poll(min(WAIT_MS, int(1000 * (until - now)) + 1)) and (parts := self._intake.receive()) is not None:
                last = time.monotonic()
                self._heard.take(parts, time.monotonic_ns())
        return last

    def close(self) -> None:
        """Hang up."""
        self._intake.socket.disable_monitor()
        self._monitor.close(0)
        self._intake.close()


def listen(config: BridgeConfig, seconds: float, *, cut: bool = True, allow_plaintext: bool = False) -> Heard:
    """Listen for ``seconds``; with ``cut`` hang up in the middle. Errors as :class:`Intake` raises them."""
    heard, begun = Heard(), time.monotonic()
    with zmq.Context() as context:
        door = Door(context, config, heard, allow_plaintext=allow_plaintext)
        try:
            if cut:
                last = door.hear(begun + seconds / 2)
                lively = time.monotonic() - last < LIVELY_S and not heard.between_sweeps
                if last:
                    door.close()
                    heard.cut()
                    door = _reopened(context, config, heard, allow_plaintext=allow_plaintext)
                    heard.never_back = not door.hear(begun + seconds) and lively
                    return heard
            door.hear(begun + seconds)
        finally:
            door.close()
    return heard


def _reopened(context: zmq.Context[zmq.Socket[bytes]], config: BridgeConfig, heard: Heard, *, allow_plaintext: bool) -> Door:
    """ZeroMQ closes in the background: for a moment the endpoint is still taken."""
    deadline = time.monotonic() + REOPEN_S
    while True:
        try:
            return Door(context, config, heard, allow_plaintext=allow_plaintext)
        except EndpointUnusable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
