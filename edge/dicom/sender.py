"""One step of sending, repeated: store what is due, then have the PACS commit itself to it. No socket, thread or clock of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from edge.config import DicomConfig
from edge.dicom.commitment import Report, reason_words, transaction_uid
from edge.dicom.errors import NoSuchObject, Unreachable
from edge.dicom.queue import Entry, Queue

NO_SUCH_OBJECT = 0x0112  # the PACS does not have it: send it again
REPORT_WITHIN_S = 60.0  # then commitment is asked for again


class Outcome(NamedTuple):
    """What became of one object, in the PACS's words."""

    kind: Literal["stored", "refused", "later"]
    words: str = ""


class Transport(Protocol):
    """A way to a PACS. ``Unreachable`` where there is none now."""

    def store(self, objects: list[tuple[Entry, Path]]) -> Iterator[tuple[Entry, Outcome]]:
        """Send each; answers one after the other, as they come."""

    def ask_commitment(self, transaction: str, entries: list[Entry]) -> None:
        """The PACS reports later, elsewhere."""


class Sender:
    """Moves the queue on. ``commit`` whether the PACS is asked to commit itself; else stored is the end."""

    def __init__(
        self, queue: Queue, transport: Transport, config: DicomConfig, *, commit: bool, now: Callable[[], float] = time.time
    ) -> None:
        self._queue, self._transport, self._config, self._commit, self._now = queue, transport, config, commit, now
        self.unreachable = ""  # the sentence, while nothing answers

    def step(self, *, force: bool = False) -> int:
        """Try everything that is due (``force``: everything); answers how many objects were tried."""
        waiting = self._due(force, "waiting")
        unsure = self._due(force, "stored") if self._commit else []
        try:
            self._store(waiting)
            unsure += [one for one in map(self._queue.entry, (entry.uid for entry in waiting)) if self._commit and one.state == "stored"]
            self._ask(unsure)
            self.unreachable = ""
        except Unreachable as gone:
            self.unreachable = str(gone)
            for entry in map(self._queue.entry, {one.uid for one in (*waiting, *unsure)}):
                if entry.state in ("waiting", "stored") and entry.not_before_s <= self._now():
                    self._later(entry, str(gone))
        return len(waiting)

    def hear(self, report: Report) -> None:
        """What the PACS says of a transaction. Only of objects for which we have asked under this very transaction is anything believed."""
        for entry in self._queue.entries():
            if entry.state != "stored" or report.transaction not in entry.transactions:
                continue
            if entry.uid in report.committed:
                self._queue.change(entry.uid, state="committed", words="")
            elif (reason := report.failed.get(entry.uid)) is not None:
                words = f"the PACS did not commit itself: {reason_words(reason)}"
                if reason == NO_SUCH_OBJECT and self._queue.object(entry.uid).exists():
                    self._later(entry, words, state="waiting")
                else:
                    self._later(entry, words)

    def _store(self, waiting: list[Entry]) -> None:
        objects = []
        for entry in waiting:
            path = self._queue.object(entry.uid)
            if path.exists():
                objects.append((entry, path))
            else:
                self._queue.change(entry.uid, state="refused", words="its object is gone from the queue; write the sweep again")
        for entry, outcome in self._transport.store(objects) if objects else ():
            if outcome.kind == "later":
                self._later(entry, outcome.words)
            else:
                final = outcome.kind == "stored" and not self._commit
                with suppress(NoSuchObject):  # it was dropped while it was sent
                    self._queue.change(entry.uid, state=outcome.kind, words=outcome.words, final=final, attempts=0, not_before_s=0.0)

    def _ask(self, entries: Iterable[Entry]) -> None:
        asked = list({entry.uid: entry for entry in entries}.values())
        if not asked:
            return
        transaction = transaction_uid()
        for entry in asked:  # first on the disk: the report may come before the answer, or after a power cut
            when = self._now() + max(REPORT_WITHIN_S, self._delay(entry))
            self._queue.change(entry.uid, transactions=(*entry.transactions, transaction), not_before_s=when, attempts=entry.attempts + 1)
        self._transport.ask_commitment(transaction, asked)

    def _due(self, force: bool, *states: Literal["waiting", "stored"]) -> list[Entry]:
        within_s = 2 * max(self._config.longest_retry_s, REPORT_WITHIN_S)
        return self._queue.due(*states, within_s=within_s, force=force)

    def _later(self, entry: Entry, words: str, **values: object) -> None:
        when = self._now() + self._delay(entry)
        with suppress(NoSuchObject):
            self._queue.change(entry.uid, attempts=entry.attempts + 1, not_before_s=when, words=words, **values)

    def _delay(self, entry: Entry) -> float:
        return min(self._config.longest_retry_s, self._config.retry_s * 2.0 ** min(entry.attempts, 32))
