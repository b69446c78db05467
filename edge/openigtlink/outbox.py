"""What waits for one client: of each name only the newest image or pose, and a bounded row of answers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.openigtlink.envelope import seal

ANSWERS_WAITING = 64


@dataclass
class Outgoing:
    """A message for everybody. It is sealed once for each header version that somebody speaks."""

    kind: str
    device: str
    timestamp_ns: int
    content: list[bytes | memoryview]
    metadata: Mapping[str, str] = field(default_factory=dict)
    _sealed: dict[int, bytes] = field(default_factory=dict)

    def wire(self, version: int) -> bytes:
        """The bytes of it."""
        if version not in self._sealed:
            self._sealed[version] = seal(self.kind, self.device, self.timestamp_ns, self.content, version, self.metadata)
        return self._sealed[version]


class Outbox:
    """``show`` what may be replaced by the next of its name, ``answer`` what may not. ``dropped`` counts what was never sent."""

    def __init__(self) -> None:
        self.dropped = 0
        self._newest: OrderedDict[tuple[str, str], Outgoing] = OrderedDict()
        self._answers: deque[Outgoing] = deque()
        self._wake = asyncio.Event()

    def show(self, message: Outgoing) -> None:
        """Takes the place of one that waits."""
        self.dropped += (message.kind, message.device) in self._newest
        self._newest[message.kind, message.device] = message
        self._wake.set()

    def answer(self, message: Outgoing) -> None:
        """In order; the oldest is forgotten where a client asks and does not read."""
        if len(self._answers) >= ANSWERS_WAITING:
            self._answers.popleft()
            self.dropped += 1
        self._answers.append(message)
        self._wake.set()

    async def next(self) -> Outgoing:
        """Answers first, then what has waited longest."""
        while not self._answers and not self._newest:
            self._wake.clear()
            await self._wake.wait()
        return self._answers.popleft() if self._answers else self._newest.popitem(last=False)[1]

    @property
    def waiting(self) -> int:
        """Messages."""
        return len(self._answers) + len(self._newest)
