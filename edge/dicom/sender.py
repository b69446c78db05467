"""One step of sending, repeated: store what is due, then have the PACS commit itself to it. No socket, thread or clock of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from edge.config import DicomConfig
from edge.dicom.commitment import Report, reason_words, transaction_uid
from edge.dicom.errors import NoSuchObject, Unreachable
from edge.dicom.queue import Entry, Queue

NO_SUCH_OBJECT = 0x0112  # the PACS does not have it: send it again
REPORT_WITHIN_S = 60.0  # then commitment is asked for again, ever more seldom
LONGEST_ASK_S = 3600.0
BREAKS_IN_A_ROW = 2  # one is about the object, which must not hold up those behind it; the next one too is about the network


class Outcome(NamedTuple):
    """What became of one object, in the PACS's words. ``broke``: the connection ended while this object was under way."""

    kind: Literal["stored", "refused", "later", "broke"]
    words: str = ""


class Broken(Unreachable):
    """The connection broke with one object after the other. Those behind them were not tried."""


DUPLICATE = 0x0111  # of a UID; ours name their content, so it is this very object
HELD = Outcome("stored", "the PACS says that it has it already")
GONE = Outcome("refused", "its object is gone from the queue; write the sweep again")


class Transport(Protocol):
    """A way to a PACS. ``Unreachable`` where no connection is to be had now. An object that was dropped meanwhile is ``GONE``."""

    def store(self, objects: list[tuple[Entry, Path]]) -> Iterator[tuple[Entry, Outcome]]:
        """Send each; answers one after the other, as they come. Where one breaks the connection it goes on with the next."""

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
        waiting = sorted(self._due(force, "waiting"), key=lambda entry: entry.attempts)  # then by UID: what failed waits behind the rest
        unsure = self._due(force, "stored") if self._commit else []
        try:
            self._store(waiting)
            unsure += [one for one in self._still(waiting) if self._commit and one.state == "stored"]
            self._ask(unsure)
            self.unreachable = ""
        except Unreachable as gone:
            self.unreachable = str(gone)
            for entry in self._still([*waiting, *unsure]):
                if entry.state in ("waiting", "stored") and entry.not_before_s <= self._now():
                    words = str(gone) if entry.state == "waiting" else entry.words  # the PACS has it: the network says nothing of it
                    self._later(entry, words, attempts=entry.attempts + (not isinstance(gone, Broken)))
        return len(waiting)

    def hear(self, report: Report) -> None:
        """What the PACS says of a transaction. Only of objects for which we have asked under this very transaction is anything believed."""
        for entry in self._queue.entries():
            if entry.state != "stored" or report.transaction not in entry.transactions:
                continue
            if entry.uid in report.committed:
                self._change(entry, state="committed", words="")
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
                self._change(entry, state="refused", words=GONE.words)
        broken = 0
        for entry, outcome in self._transport.store(objects) if objects else ():
            broken = broken + 1 if outcome.kind == "broke" else 0
            if outcome.kind in ("later", "broke"):
                self._later(entry, outcome.words)
                if broken == BREAKS_IN_A_ROW:
                    raise Broken(outcome.words)
            else:
                final = outcome.kind == "stored" and not self._commit
                self._change(entry, state=outcome.kind, words=outcome.words, final=final, attempts=0, not_before_s=0.0)

    def _ask(self, entries: Iterable[Entry]) -> None:
        transaction, asked = transaction_uid(), []
        for entry in {entry.uid: entry for entry in entries}.values():  # on the disk before the report comes, or the power goes
            when = self._now() + self._delay(entry, REPORT_WITHIN_S, LONGEST_ASK_S)
            told = {"transactions": (*entry.transactions, transaction), "not_before_s": when, "attempts": entry.attempts + 1}
            if self._change(entry, **told):
                asked.append(entry)
        if asked:
            self._transport.ask_commitment(transaction, asked)

    def _still(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those that nobody has dropped meanwhile, each once, as they are now."""
        uids = {entry.uid for entry in entries}
        return [entry for entry in self._queue.entries() if entry.uid in uids]

    def _change(self, entry: Entry, **values: object) -> bool:
        """False where somebody has dropped it meanwhile."""
        try:
            self._queue.change(entry.uid, **values)
        except NoSuchObject:
            return False
        return True

    def _due(self, force: bool, *states: Literal["waiting", "stored"]) -> list[Entry]:
        longest_s = LONGEST_ASK_S if "stored" in states else REPORT_WITHIN_S
        within_s = 2 * max(self._config.longest_retry_s, longest_s)
        return self._queue.due(*states, within_s=within_s, force=force)

    def _later(self, entry: Entry, words: str, **values: object) -> None:
        when = self._now() + self._delay(entry)
        self._change(entry, **{"attempts": entry.attempts + 1, "not_before_s": when, "words": words, **values})

    def _delay(self, entry: Entry, least_s: float = 0.0, most_s: float = 0.0) -> float:
        again_s = self._config.retry_s * 2.0 ** min(entry.attempts, 32)
        return max(least_s, min(max(most_s, self._config.longest_retry_s), again_s))
