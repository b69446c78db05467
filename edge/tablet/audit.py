"""Who did what: an append-only log, each line chained to the one before by its hash, so that a line that was changed or cut out shows.

JSON lines. No field of an exam ever goes in. A full log is put aside under a number and its last hash begins the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from edge.atomic import make_folder
from edge.console import say
from edge.errors import SonosweepError
from edge.health import clock_trusted, now_utc
from edge.tablet.allowance import Allowance

LARGEST_BYTES, KEPT = 4 << 20, 8
LONGEST_DETAIL = 300
REFUSALS_A_MINUTE = 60  # the rest of a flood is counted and told in one line


class AuditBroken(SonosweepError):
    """A line of the log is not what was written."""


class Audit:
    """``note`` appends; refusals are limited in number, so that a flood cannot fill the disk."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.path = folder / "audit.jsonl"
        self._refusals = Allowance(REFUSALS_A_MINUTE, 60.0)
        self._untold = 0
        self._last = self._last_hash()

    def note(self, event: str, who: str = "", detail: str = "") -> None:
        """Append a line and put it on the disk. ``OSError`` where it takes none; the log is then as it was."""
        line = {"time": now_utc(), "clock_trusted": clock_trusted(), "event": event, "who": who[:80], "detail": detail[:LONGEST_DETAIL]}
        line["before"] = self._last
        line["hash"] = hashed = _hash(line)
        if self.path.exists() and self.path.stat().st_size > LARGEST_BYTES:
            self._put_aside()
        before = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(self.path, before)
            raise
        self._last = hashed

    def note_done(self, event: str, who: str, detail: str) -> None:
        """As ``note``, of what has happened already: a full disk must not keep its answer back. Then the journal has it."""
        try:
            self.note(event, who, detail)
        except OSError as wrong:
            say(f"tablet: not in the audit log: {event} {who} {detail} ({wrong})")

    def refused(self, name: str, who: str, detail: str) -> None:
        """A refusal, as long as there are not too many."""
        if not self._refusals.take():
            self._untold += 1
            return
        more = f" ({self._untold} more were refused before this)" if self._untold else ""
        self._untold = 0
        self.note_done(f"refused {name}", who, detail[: LONGEST_DETAIL - len(more)] + more)

    def _put_aside(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            older = self.path.with_name(f"audit.{number}.jsonl")
            if older.exists():
                older.replace(self.path.with_name(f"audit.{number + 1}.jsonl"))
        self.path.replace(self.path.with_name("audit.1.jsonl"))

    def _last_hash(self) -> str:
        if not self.path.exists():
            return ""
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):  # the power went while a line was written
            os.truncate(self.path, whole)
        last = text[:whole].splitlines()[-1:]
        try:
            return str(json.loads(last[0])["hash"]) if last else ""
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
            return ""  # `verify` names the line


def verify(path: Path) -> int:
    """How many lines the log has. ``AuditBroken`` names the first that was changed, added or taken out."""
    before: str | None = None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
            said = line.pop("hash")
            sound = said == _hash(line) and before in (None, line["before"])
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise AuditBroken(f"{path}: line {number} is not what was written; keep the file and ask who had access to the device")
        before = said
    return len(lines)


def _hash(line: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()
