"""What one tablet holds and what it is sent next: the newest, in small pieces, and never more than it has room for.

The tablet's copy is brought to the store's state, not told its history: what was overtaken is never sent, and the end state is exact.
Times are seconds of any rising clock and are passed in.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.tablet import wire
from edge.tablet.jpeg import jpeg
from edge.tablet.store import RESERVED, VOXELS, BrickStore, doubled

IMAGES_OPEN, BRICKS_OPEN = 3, 3  # sent and not yet acknowledged
BRICKS, HALF = 128, 4  # in one message at most; so many times as many of half detail
FEWEST_BRICKS = 16  # so small do messages become where they take long, so that an image need not wait behind them
LONG_S, SHORT_S = 0.03, 0.015  # from sending bricks to their acknowledgement
NEW_TO_IT = 512  # bricks that a tablet has never seen: above so many it gets half detail of them first
WAITED_S = 0.1  # an image that has waited so long for room gives way to newer ones
LATE_S = 0.06  # an image that took so long leaves room for one message of bricks at a time
SILENT_S = 10.0
SLOW_S, QUICK_S = 0.3, 0.1  # from sending an image to its acknowledgement
WORSE_AFTER_S, BETTER_AFTER_S = 2.0, 6.0


class Quality(NamedTuple):
    """What a link carries: images a second at most, their JPEG quality, bricks of full or half detail or none."""

    images_per_s: float
    jpeg: int
    bricks: str


LADDER = {"full": Quality(30, 75, "full"), "half": Quality(20, 60, "half"), "frames": Quality(10, 60, "none")}
STEPS = tuple(LADDER)


class Picture:
    """A live image ``grey`` [axial, lateral], ``spacing_mm`` (lateral, axial); encoded once for all of a quality."""

    def __init__(self, sequence: int, flags: int, time_ms: float, spacing_mm: tuple[float, float], grey: NDArray[np.uint8]) -> None:
        self.sequence, self.flags, self.time_ms, self.spacing_mm, self._grey = sequence, flags, time_ms, spacing_mm, grey
        self.kind = flags & ~wire.IN_SWEEP
        self._encoded: dict[int, bytes] = {}

    def message(self, seq: int, quality: int) -> bytes:
        """The ``I`` message number ``seq``, with a JPEG of ``quality``."""
        if quality not in self._encoded:
            self._encoded[quality] = jpeg(self._grey, quality)
        height, width = self._grey.shape
        return wire.image(seq, self.sequence, self.flags, self.time_ms, (width, height), self.spacing_mm, self._encoded[quality])


class Turn(NamedTuple):
    """A picture that waits: when it came, and before when it may not go."""

    picture: Picture
    came_s: float
    due_s: float


class ClientFeed:
    """One tablet's. ``show`` gives it a store; then take what ``next_image`` and ``next_bricks`` answer until both are None."""

    def __init__(self, images_per_s: float = 30.0) -> None:
        self.mode = "auto"
        self.most_images_per_s = images_per_s
        self._batch, self._image_took = BRICKS, 0.0
        self._step = 0
        self._since: float | None = None  # the link has been slow (or quick) since then
        self._was_slow = False
        self._pictures: deque[Turn] = deque()
        self._image_due = -1e9
        self._seq = 0
        self._open: dict[int, tuple[str, float]] = {}  # sequence: type, when it was sent
        self.show(BrickStore(), 0, complete=False)

    def show(self, store: BrickStore, epoch: int, *, complete: bool) -> None:
        """From now on this volume; ``complete``: it will not change any more, so full detail follows however slow the link is."""
        self._store, self._epoch, self.complete = store, epoch, complete
        self._held: NDArray[np.uint8] = np.zeros((RESERVED, 2, VOXELS), np.uint8)
        self._sent: NDArray[np.int64] = np.zeros(RESERVED, np.int64)
        self._half: NDArray[np.int64] = np.zeros(RESERVED, np.int64)

    @property
    def quality(self) -> str:
        """The step of ``LADDER`` that is in force."""
        return self.mode if self.mode != "auto" else STEPS[self._step]

    def offer(self, picture: Picture, now: float) -> None:
        """To be shown, at the rate that is allowed: it takes the place of one of its kind whose turn has not come; one that is a little
        early waits. Each kind of image (ultrasound, each wavelength) has a place of its own, so that none starves another."""
        for place, turn in enumerate(self._pictures):
            if turn.due_s > now and turn.picture.kind == picture.kind:
                self._pictures[place] = turn._replace(picture=picture, came_s=now)
                return
        period = 1 / min(LADDER[self.quality].images_per_s, self.most_images_per_s)
        self._pictures.append(Turn(picture, now, self._image_due))
        self._image_due = max(self._image_due, now - period) + period
        self._drop_late(now)

    def next_image(self, now: float) -> bytes | None:
        """An ``I`` message, or None. While a tablet is out of breath for a moment images wait for it; old ones are not sent."""
        self._drop_late(now)
        if not self._pictures or self._waiting("I") >= IMAGES_OPEN or now < self._pictures[0].due_s:
            return None
        return self._pictures.popleft().picture.message(self._number("I", now), LADDER[self.quality].jpeg)

    def image_in(self, now: float) -> float | None:
        """Seconds until the image that waits may be sent, where only its turn is waited for."""
        if not self._pictures or self._waiting("I") >= IMAGES_OPEN:
            return None
        return max(self._pictures[0].due_s - now, 0.0)

    def next_bricks(self, now: float) -> bytes | None:
        """A ``V`` or ``S`` message, or None."""
        if self._waiting("V") + self._waiting("S") >= (1 if self._image_took > LATE_S else BRICKS_OPEN):
            return None
        self._grow()
        version, sent, half = self._store.version, self._sent, self._half
        behind = np.flatnonzero(version[: self._store.count] > sent[: self._store.count])
        detail = "full" if self.complete else LADDER[self.quality].bricks
        if not len(behind) or detail == "none":
            return None
        unseen = behind[np.maximum(half[behind], sent[behind]) == 0]
        rough = behind[half[behind] < version[behind]] if detail == "half" else unseen if len(unseen) > NEW_TO_IT else behind[:0]
        if len(rough):
            return self._half_message(self._newest(rough, HALF * self._batch), now)
        return self._full_message(self._newest(behind, self._batch), now) if detail == "full" else None

    def ack(self, kind: str, seq: int, now: float) -> None:
        """The tablet has applied a message. One that was never sent, or was acknowledged before, says nothing."""
        sent = self._open.get(seq)
        if sent is None or sent[0] != kind:
            return
        del self._open[seq]
        took_s = now - sent[1]
        if kind == "I":
            self._image_took = took_s
            self._judge(took_s, now)
        elif took_s > LONG_S:
            self._batch = max(self._batch // 2, FEWEST_BRICKS)
        elif took_s < SHORT_S:
            self._batch = min(self._batch * 2, BRICKS)

    def overdue(self, now: float) -> bool:
        """The tablet has not answered for too long: it sleeps or is gone."""
        return any(now - when > SILENT_S for _, when in self._open.values())

    @property
    def up_to_date(self) -> bool:
        """It has been sent everything and has acknowledged all bricks."""
        self._grow()
        count = self._store.count
        sent_all = not bool((self._store.version[:count] > self._sent[:count]).any())
        return sent_all and not self._waiting("V") and not self._waiting("S")

    def _full_message(self, slots: NDArray[np.intp], now: float) -> bytes:
        voxels = self._store.voxels[slots]
        changed = (voxels != self._held[slots]).any(1)
        self._held[slots] = voxels
        self._sent[slots] = self._store.version[slots]
        channel = int(self._store.channel[slots[0]])
        return wire.bricks(self._number("V", now), self._epoch, channel, 1e3 * now, self._store.coords[slots], changed, voxels)

    def _half_message(self, slots: NDArray[np.intp], now: float) -> bytes:
        self._half[slots] = self._store.version[slots]
        channel = int(self._store.channel[slots[0]])
        cells = self._store.half(slots)
        return wire.half_bricks(self._number("S", now), self._epoch, channel, 1e3 * now, self._store.coords[slots], cells)

    def _newest(self, slots: NDArray[np.intp], most: int) -> NDArray[np.intp]:
        """At most so many, of one channel: that of the newest."""
        order = slots[np.argsort(-self._store.version[slots], kind="stable")]
        same: NDArray[np.intp] = order[self._store.channel[order] == self._store.channel[order[0]]]
        return same[:most]

    def _grow(self) -> None:
        while len(self._sent) < self._store.count:
            self._held, self._sent, self._half = doubled(self._held), doubled(self._sent), doubled(self._half)

    def _drop_late(self, now: float) -> None:
        newest = {turn.picture.kind: turn for turn in self._pictures if turn.due_s <= now}
        late = [turn for turn in self._pictures if now - turn.came_s > WAITED_S and newest.get(turn.picture.kind, turn) is not turn]
        for turn in late:
            self._pictures.remove(turn)

    def _number(self, kind: str, now: float) -> int:
        self._seq = (self._seq + 1) & 0xFFFFFFFF
        self._open[self._seq] = (kind, now)
        return self._seq

    def _waiting(self, kind: str) -> int:
        return sum(one == kind for one, _ in self._open.values())

    def _judge(self, took_s: float, now: float) -> None:
        """One step down after a while of slow answers, one up after a longer while of quick ones."""
        slow, quick = took_s > SLOW_S, took_s < QUICK_S
        if not (slow or quick) or self._since is None or slow != self._was_slow:
            self._since, self._was_slow = (now if slow or quick else None), slow
            return
        if now - self._since > (WORSE_AFTER_S if slow else BETTER_AFTER_S):
            self._step = min(self._step + 1, len(STEPS) - 1) if slow else max(self._step - 1, 0)
            self._since = now
