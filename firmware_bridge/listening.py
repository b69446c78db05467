"""The bridge's door with nothing behind it: listens to a front end under test, and disturbs it twice.

In the middle it hangs up, to see whether the front end comes back. After three quarters it stops reading, to see whether it waits.
"""

from __future__ import annotations

import time

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from edge.config import BridgeConfig
from firmware_bridge.heard import Heard
from firmware_bridge.intake import EndpointUnusable, Intake

WAIT_MS = 50
LIVELY_S = 1.0  # one that has sent nothing for so long may have finished
REOPEN_S = 3.0
HOLD_S, HOLD_SHARE = 1.5, 0.1  # of not reading; of the whole time at most
CATCH_UP_S = 2.0
QUEUE_FRAMES = 2  # a front end is held back soon


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


def listen(config: BridgeConfig, seconds: float, *, disturb: bool = True, allow_plaintext: bool = False) -> Heard:
    """Listen for ``seconds``. Errors as :class:`Intake` raises them."""
    heard, end = Heard(), time.monotonic() + seconds
    config = msgspec.structs.replace(config, queue_frames=QUEUE_FRAMES)
    with zmq.Context() as context:
        door = Door(context, config, heard, allow_plaintext=allow_plaintext)
        try:
            if disturb and (last := door.hear(end - seconds / 2)):
                lively = time.monotonic() - last < LIVELY_S and not heard.between_sweeps
                door.close()
                heard.cut()
                door = _reopened(context, config, heard, allow_plaintext=allow_plaintext)
                heard.never_back = not door.hear(end - seconds / 4) and lively
                time.sleep(min(HOLD_S, HOLD_SHARE * seconds))
                heard.hold(True)
                door.hear(min(time.monotonic() + CATCH_UP_S, end))
                heard.hold(False)
            door.hear(end)
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
