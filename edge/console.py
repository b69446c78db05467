"""The only file that prints: talk goes to stderr, results to stdout, one JSON document where it was asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec
from tqdm import tqdm

T = TypeVar("T")


def say(text: str) -> None:
    """A sentence for the person at the terminal (stderr)."""
    tqdm.write(text, file=sys.stderr)


def write(text: str) -> None:
    """Text that was asked for (help, a version) on stdout."""
    sys.stdout.write(text)
    sys.stdout.flush()


def result(value: Any, *, as_json: bool, text: str) -> None:
    """The command's answer on stdout: ``value`` as one JSON document, or ``text``."""
    write((msgspec.json.format(msgspec.json.encode(value), indent=2).decode() if as_json else text) + "\n")


def progress(items: Iterable[T], *, total: int | None, label: str, unit: str = "frame") -> Iterator[T]:
    """``items`` behind a bar on stderr; silent where stderr is no terminal."""
    yield from tqdm(items, total=total, desc=label, unit=unit, file=sys.stderr, disable=None, leave=False)


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as aligned text; numbers to the right."""
    cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max([len(c), *(len(r[i]) for r in cells)]) for i, c in enumerate(columns)]
    numeric = [all(isinstance(row.get(c, 0), int | float) for row in rows) for c in columns]
    lines = [columns, ["-" * w for w in widths], *cells]
    return "\n".join(
        "  ".join(x.rjust(w) if n else x.ljust(w) for x, w, n in zip(line, widths, numeric, strict=True)).rstrip() for line in lines
    )


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:.0f}" if isinstance(value, float) else str(value)
