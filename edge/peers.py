"""Who is alive: every service says its status, listens for the others', and names the one that fell silent."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import zmq

from edge.bus import Subscriber, ipc
from edge.messages import Command, FaultRaised, Frame, Message, Status
from edge.services import ALL, GONE_AFTER_S, IDLE_STATUS_PERIOD_S, SERVICES, STATUS_PERIOD_S


class Peers:
    """The other services of this device, seen from ``me``, which hears what the service table says.

    A service is alive from its first status until it is silent too long.

    >>> peers = Peers(context, run_dir, me="record")      # doctest: +SKIP
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        run_dir: Path,
        me: str,
        names: Iterable[str] = (),
    ) -> None:
        self._me = me
        self.hears = tuple(kind for kind in ALL[me].hears if kind is not Frame)  # frames have queues of their own
        self._subscribers = {name: Subscriber(context, ipc(run_dir, name), self.hears) for name in names or SERVICES.keys() - {me}}
        self._heard: dict[str, float] = {}
        self._gone: set[str] = set()
        self.statuses: dict[str, Status] = {}  # the newest of each service; the owner takes them out where it wants them
        self.said: list[Message] = []  # what the table lets ``me`` hear beside status, oldest first; the owner takes it out

    def check(self) -> list[FaultRaised]:
        """Hear what waits; answer one fault for each service that has fallen silent since the last call."""
        now = time.monotonic()
        for name, subscriber in self._subscribers.items():
            while (message := subscriber.receive()) is not None:
                if isinstance(message, Status):
                    self._heard[name] = now
                    self.statuses[name] = message
                    self._gone.discard(name)
                else:
                    self.said.append(message)
        silent = {name for name, heard in self._heard.items() if now - heard > GONE_AFTER_S} - self._gone
        self._gone |= silent
        return [FaultRaised(service=self._me, name=SERVICES[name].gone, detail=f"silent for {GONE_AFTER_S} s") for name in sorted(silent)]

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """To be polled."""
        return [subscriber.socket for subscriber in self._subscribers.values()]

    @property
    def commanders(self) -> list[zmq.Socket[bytes]]:
        """To be polled where only a command is urgent."""
        return [subscriber.socket for name, subscriber in self._subscribers.items() if Command in ALL[name].says]

    def alive(self, name: str) -> bool:
        """Whether ``name`` has been heard and not fallen silent (as of the last :meth:`check`)."""
        return name in self._heard and name not in self._gone

    def gone(self, name: str) -> bool:
        """Whether ``name`` has been heard and fallen silent; one that is still starting has not."""
        return name in self._gone

    def close(self) -> None:
        """Close all subscriptions."""
        for subscriber in self._subscribers.values():
            subscriber.close()


class SignOfLife:
    """When a service's status is due: often while there is work, less often while it is idle, at once where its state has changed."""

    def __init__(self) -> None:
        self._told_s, self._state = -IDLE_STATUS_PERIOD_S, ""

    def due(self, state: str, *, idle: bool) -> bool:
        """Whether to say it now; then it counts as said."""
        now_s = time.monotonic()
        if state == self._state and now_s - self._told_s < (IDLE_STATUS_PERIOD_S if idle else STATUS_PERIOD_S):
            return False
        self._told_s, self._state = now_s, state
        return True
