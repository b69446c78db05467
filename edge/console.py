"""The only file that prints: talk goes to stderr, results to stdout, one JSON document where it was asked for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec
from tqdm import tqdm

from edge.daemon import logs_to_journal

T = TypeVar("T")
PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6}  # of syslog(3)
tqdm.set_lock(threading.RLock())  # its own is shared with forked processes: one that is killed while it writes would silence us for ever
CLEAR = "\033[H\033[J"  # home, and nothing below


def say(text: str, level: str = "info") -> None:
    """A sentence for the person at the terminal (stderr). In the journal each line carries its priority: see sd-daemon(3)."""
    if logs_to_journal():
        text = "\n".join(f"<{PRIORITIES[level]}>{line}" for line in text.splitlines())
    tqdm.write(text, file=sys.stderr)


def write(text: str) -> None:
    """Text that was asked for (help, a version) on stdout."""
    sys.stdout.write(text)
    sys.stdout.flush()


def screen(text: str) -> None:
    """``text`` in the place of what was there; where stdout is no terminal, below it."""
    write(f"{CLEAR if sys.stdout.isatty() else ''}{text}\n")


def result(value: Any, *, as_json: bool, text: str) -> None:
    """The command's answer on stdout: ``value`` as one JSON document, or ``text``."""
    write((msgspec.json.format(msgspec.json.encode(value), indent=2).decode() if as_json else text) + "\n")


def progress(items: Iterable[T], *, total: int | None, label: str, unit: str = "frame") -> Iterator[T]:
    """``items`` behind a bar on stderr; silent where stderr is no terminal."""
    yield from tqdm(items, total=total, desc=label, unit=unit, file=sys.stderr, disable=None, leave=False)


def rounded(value: float | None, digits: int) -> float | None:
    """A measure as people read it; None where there is none."""
    return None if value is None else round(value, digits)


def facts(answer: dict[str, Any]) -> str:
    """One fact a line, as people read it: no brackets, no quotes, "-" for nothing."""
    widest = max(map(len, answer))
    return "\n".join(f"{key:>{widest}}  {_words(value)}" for key, value in answer.items())


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as aligned text; numbers to the right, "-" where there is none."""
    cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max([len(c), *(len(r[i]) for r in cells)]) for i, c in enumerate(columns)]
    numeric = [all(isinstance(row.get(c, 0), int | float | None) for row in rows) for c in columns]
    lines = [columns, ["-" * w for w in widths], *cells]
    return "\n".join(
        "  ".join(x.rjust(w) if n else x.ljust(w) for x, w, n in zip(line, widths, numeric, strict=True)).rstrip() for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:.0f}" if isinstance(value, float) else str(value)


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "-"
    if isinstance(value, dict):
        return "; ".join(f"{key} {_words(inner)}" for key, inner in value.items()) or "-"
    return "-" if value in ("", None) else str(value)
