"""Where sweeps begin and end: as the probe says (``probe``), or at the operator's word from the tablet (``operator``)."""

from __future__ import annotations

import secrets
from typing import Protocol

import msgspec

from edge.messages import Frame

NO_SWEEP = -1  # the number of a frame that is only looked at
STOP_WITHIN_NS = 1_000_000_000  # a frame that comes later than this after the stop is no part of the sweep any more


class Sweeps(Protocol):
    """Gives each frame its sweep. ``start`` and ``stop`` answer with the name of an error, or nothing."""

    running: bool

    def start(self) -> str:
        """The next frame begins a sweep."""

    def stop(self, now_ns: int) -> str:
        """The next frame is the last of the sweep."""

    def assign(self, frame: Frame) -> Frame:
        """The frame with the number of its sweep and its place in it; ``NO_SWEEP`` where it belongs to none."""


class ProbeSweeps:
    """The front end numbers its sweeps and marks the last frame of each: nothing is changed."""

    running = False

    def start(self) -> str:
        """Refused."""
        return "PROBE_DECIDES"

    def stop(self, now_ns: int) -> str:
        """Refused."""
        return "PROBE_DECIDES"

    def assign(self, frame: Frame) -> Frame:
        """As it came."""
        return frame


class OperatorSweeps:
    """The front end sends all the time; a sweep is what lies between two words of the operator.

    Frames are numbered from 0 within it, so that what was lost stays visible as a hole. Where the front end starts again or begins
    a sweep of its own, the operator's goes on under the next number: whoever hears it ends the one before by name, and nothing is
    lost. A last frame of the front end's ends it too.
    """

    def __init__(self) -> None:
        self.running = False
        self._number = secrets.randbits(29)  # not one that this front end's frames had before the bridge was started again
        self._probe_key: tuple[int, int] | None = None
        self._first = 0
        self._stopped_ns: int | None = None

    def start(self) -> str:
        """``SWEEP_RUNS`` where one does."""
        if self.running and self._stopped_ns is None:
            return "SWEEP_RUNS"
        self._begin()
        return ""

    def stop(self, now_ns: int) -> str:
        """``NO_SWEEP`` where none runs."""
        if not self.running or self._stopped_ns is not None:
            return "NO_SWEEP"
        self._stopped_ns = now_ns
        if self._probe_key is None:  # no image has come since the start: there is nothing to end
            self.running = False
        return ""

    def assign(self, frame: Frame) -> Frame:
        """See the protocol."""
        another = self._probe_key not in (None, frame.sweep_key)
        if self._stopped_ns is not None and (another or frame.received_ns - self._stopped_ns > STOP_WITHIN_NS):
            self.running = False
        if self.running and another:
            self._begin()
        if not self.running:
            return msgspec.structs.replace(frame, sweep=NO_SWEEP, last=False)
        if self._probe_key is None:
            self._probe_key, self._first = frame.sweep_key, frame.sequence
        last = frame.last or self._stopped_ns is not None
        self.running = not last
        return msgspec.structs.replace(frame, sweep=self._number, sequence=frame.sequence - self._first, last=last)

    def _begin(self) -> None:
        self.running, self._probe_key, self._stopped_ns = True, None, None
        self._number += 1


SWEEPS: dict[str, type[ProbeSweeps] | type[OperatorSweeps]] = {"probe": ProbeSweeps, "operator": OperatorSweeps}
