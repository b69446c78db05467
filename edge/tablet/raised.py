"""The faults as tablets are told: what was raised of late, and what still holds however long ago it was raised."""

from __future__ import annotations

from collections import deque
from typing import Any

from edge.faults import FAULTS
from edge.messages import FaultRaised

KEPT, SHOWN_S = 16, 30.0


class Raised:
    """``hear`` each; then ask what is ``told``. Times are seconds of any rising clock."""

    def __init__(self) -> None:
        self._faults: deque[tuple[float, FaultRaised]] = deque(maxlen=KEPT)

    def hear(self, now_s: float, fault: FaultRaised) -> None:
        """Somebody raised it."""
        self._faults.append((now_s, fault))

    def own(self, now_s: float, name: str, detail: str) -> None:
        """The gateway's own."""
        self.hear(now_s, FaultRaised(service="tablet", name=name, detail=detail))

    def told(self, now_s: float, holding: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
        """For ``state``. ``holding``: by service, the names of what holds with their detail."""
        told = [(at, f.service, f.name, f.detail) for at, f in self._faults if now_s - at < SHOWN_S]
        for service, standing in holding.items():
            told += [(now_s, service, name, detail) for name, detail in standing.items() if name not in {f[2] for f in told}]
        return [
            {"name": name, "service": service, "detail": detail, "age_s": round(now_s - at, 1), "effect": FAULTS[name].effect.value}
            for at, service, name, detail in told
            if name in FAULTS
        ]
