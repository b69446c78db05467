"""Who may use the device: a window of two minutes, opened by somebody who stands at it, and the tablets that came in through one.

Codes: 8 digits and 5 tries in a window, so a guess succeeds once in twenty million windows. Tokens are 256 random bits, kept as SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from pathlib import Path
from typing import Literal

import msgspec

from edge.atomic import make_folder, replacing
from edge.errors import SonosweepError

OPEN_S = 120.0
TRIES = 5
DIGITS = 8
LIFE_S = 30 * 86400.0
PLAIN_LIFE_S = 12 * 3600.0  # over plain http
Role = Literal["operator", "viewer"]


class TabletsUnreadable(SonosweepError):
    """The file of paired tablets is damaged. Nobody is let in by that."""


class Window:
    """Open for a while after :meth:`open`. ``now`` is passed in: seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self.secret = self.code = ""
        self.role: Role = "viewer"
        self._until = 0.0
        self._tries = 0

    def open(self, now: float, role: Role = "operator") -> None:
        """A new secret and a new code; those before are worth nothing."""
        self.secret, self.code, self.role = secrets.token_urlsafe(32), f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}", role
        self._until, self._tries = now + OPEN_S, TRIES

    def close(self) -> None:
        """Nobody comes in any more."""
        self.secret = self.code = ""
        self._until = 0.0

    def open_s(self, now: float) -> float:
        """How long it stays open; 0: it is closed."""
        return max(self._until - now, 0.0) if self.secret else 0.0

    def enter(self, now: float, secret: str = "", code: str = "") -> str:
        """Empty where that opens; else the name of the refusal. Used once, then closed; the last wrong try closes it too."""
        if not self.open_s(now):
            return "PAIRING_CLOSED"
        by_secret = hmac.compare_digest(secret.encode(), self.secret.encode())
        by_code = hmac.compare_digest(code.encode(), self.code.encode())
        if by_secret or by_code:
            self.close()
            return ""
        self._tries -= 1
        if self._tries <= 0:
            self.close()
        return "WRONG_CODE"


class Tablet(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A paired tablet. Times are seconds since 1970."""

    name: str
    role: Role
    created: float
    seen: float
    life_s: float


class Tablets:
    """The paired tablets by the SHA-256 of their token, on the disk."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._path = folder / "tablets.json"
        self._known: dict[str, Tablet] = {}
        if self._path.exists():
            try:
                self._known = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Tablet])
            except msgspec.MsgspecError as wrong:
                raise TabletsUnreadable(f"{self._path}: {wrong}; delete it and pair the tablets again") from wrong

    def add(self, name: str, role: Role, *, secure: bool) -> str:
        """A new tablet; answers its token, which is kept nowhere. A name that is taken gets a number."""
        taken, number, plain = {tablet.name for tablet in self._known.values()}, 2, (name.strip() or "tablet")[:40]
        unique = plain
        while unique in taken:
            unique, number = f"{plain} {number}", number + 1
        token, now = secrets.token_urlsafe(32), time.time()
        life_s = LIFE_S if secure else PLAIN_LIFE_S
        self._known[_digest(token)] = Tablet(name=unique, role=role, created=now, seen=now, life_s=life_s)
        self._write()
        return token

    def find(self, token: str) -> Tablet | None:
        """Whose token it is; None for a foreign, revoked or old one. Being used keeps it alive."""
        tablet = self._known.get(_digest(token)) if token else None
        if tablet is None or time.time() - tablet.seen > tablet.life_s:
            return None
        if time.time() - tablet.seen > tablet.life_s / 100:
            tablet.seen = time.time()
            self._write()
        return tablet

    def clock_moved(self, from_s: float, by_s: float) -> None:
        """The device's clock was set while it stood at ``from_s``: that is nobody's age. What a later clock has written stays."""
        for tablet in self._known.values():
            if tablet.seen <= from_s:
                tablet.created, tablet.seen = tablet.created + by_s, tablet.seen + by_s
        self._write()

    def all(self) -> list[Tablet]:
        """Everybody who may come in."""
        return list(self._known.values())

    def revoke(self, name: str) -> bool:
        """Forget a tablet."""
        before = len(self._known)
        self._known = {digest: tablet for digest, tablet in self._known.items() if tablet.name != name}
        self._write()
        return len(self._known) < before

    def _write(self) -> None:
        with replacing(self._path) as out:
            self._path.parent.chmod(0o700)
            out.write(msgspec.json.encode(self._known))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
