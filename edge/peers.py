"""Who is alive: every service says its status, listens for the others', and names the one that fell silent."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path

import zmq

from edge.bus import Subscriber, ipc
from edge.messages import Command, FaultRaised, Frame, Message, Status, SweepEnded
from edge.services import ALL, GONE_AFTER_S, IDLE_STATUS_PERIOD_S, SERVICES, STATUS_PERIOD_S

MISSED_AGAIN_S = 5.0  # between two faults about messages that were missed


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
        self._ended: dict[str, SweepEnded | None] = {}  # the last of each service, as a message or in its status
        self._missed_told, self._missed_at = 0, -MISSED_AGAIN_S

    def check(self, woken: Collection[zmq.Socket[bytes]] | None = None) -> list[FaultRaised]:
        """Hear what waits (of ``woken`` alone, where they are told); answer one fault for each service that has fallen silent since.

        The end of a sweep that was missed as a message is among ``said`` all the same, from the status."""
        now = time.monotonic()
        for name, subscriber in self._subscribers.items():
            if woken is not None and subscriber.socket not in woken:
                continue
            while (message := subscriber.receive()) is not None:
                if isinstance(message, Status):
                    self._heard[name] = now
                    self.statuses[name] = message
                    self._gone.discard(name)
                    self._hear_end(name, message.ended)
                else:
                    self.said.append(message)
                    if isinstance(message, SweepEnded):
                        self._ended[name] = message
        silent = {name for name, heard in self._heard.items() if now - heard > GONE_AFTER_S} - self._gone
        self._gone |= silent
        named = sorted(name for name in silent if ALL[name].gone)  # nobody misses a guest
        return [FaultRaised(service=self._me, name=ALL[name].gone, detail=f"silent for {GONE_AFTER_S} s") for name in named]

    def missed(self) -> list[FaultRaised]:
        """A fault where more messages were said and not heard since the last one (of 5 s ago at least)."""
        missed = {name: subscriber.missed for name, subscriber in self._subscribers.items() if subscriber.missed}
        total, now = sum(missed.values()), time.monotonic()
        if total == self._missed_told or now - self._missed_at < MISSED_AGAIN_S:
            return []
        self._missed_told, self._missed_at = total, now
        detail = ", ".join(f"{count} messages of {name}" for name, count in missed.items())
        return [FaultRaised(service=self._me, name="MESSAGES_MISSED", detail=f"{detail} since the start")]

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

    def heard(self, name: str, kind: type[Message]) -> int:
        """See :meth:`edge.bus.Subscriber.heard`."""
        return self._subscribers[name].heard(kind)

    def close(self) -> None:
        """Close all subscriptions."""
        for subscriber in self._subscribers.values():
            subscriber.close()

    def _hear_end(self, name: str, ended: SweepEnded | None) -> None:
        before = self._ended.setdefault(name, ended)  # of the first status: it was before our time
        if ended is not None and ended != before and SweepEnded in self.hears:
            self._ended[name] = ended
            self.said.append(ended)


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

    def hurry(self) -> None:
        """Something else that it tells has changed: it is due at once."""
        self._told_s = -IDLE_STATUS_PERIOD_S
