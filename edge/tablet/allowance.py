"""At most so many in so many seconds: what keeps a flood of requests, commands or refusals small."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Allowance:
    """``count`` in any ``per_s`` seconds, strictly: an idle minute saves nothing up."""

    def __init__(self, count: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` answers seconds and never goes back."""
        self._taken: deque[float] = deque(maxlen=count)
        self._per_s = per_s
        self._clock = clock

    def take(self) -> bool:
        """Take one; False where there is none at this moment."""
        now = self._clock()
        if len(self._taken) == self._taken.maxlen and now - self._taken[0] < self._per_s:
            return False
        self._taken.append(now)
        return True
