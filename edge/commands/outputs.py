"""Outputs that are looked at before the work begins."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from edge.files import CannotWrite


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None] = ()) -> None:
    """``CannotWrite``, before the work begins, for a file that could not be written after it, or that would replace an input."""
    sources = {path.resolve() for path in inputs if path}
    for path in outputs:
        if path is None:
            continue
        if path.resolve() in sources:
            raise CannotWrite(f"{path}: is a file that is read; give the output another name")
        if path.is_dir():
            raise CannotWrite(f"{path}: is a folder; name a file")
        folder = path.resolve().parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise CannotWrite(f"{path}: {folder} cannot be written to; choose another place")
