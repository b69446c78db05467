"""Files that are either the old ones or the new ones, whatever happens to the power in between."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_NUMBERS = itertools.count()  # two threads may write one file at once: each has its own, and the last to finish wins


def sync_folder(folder: Path) -> None:
    """Put the folder's own entries on the disk: without it a new file may have no name after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make the folder and its parents, each durably named in its parent."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        sync_folder(one.parent)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes the name ``path`` when all of it is on the disk, and vanishes where something is raised."""
    make_folder(path.parent)
    name = path.with_name(f".{path.name}.{os.getpid()}-{next(_NUMBERS)}.part")
    name.unlink(missing_ok=True)
    try:
        with name.open("x+b") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
