"""Names that come from outside: a file's name stays in its folder, or it is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

from edge.tablet.refusals import Refused

LONGEST_NAME = 120  # what is put before and behind it in a temporary name must still fit into the 255 bytes of a file system
FILE_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.\-]{{0,{LONGEST_NAME - 1}}}")  # no leading dot or dash, nothing that a shell minds


class BadName(Refused):
    """The name of a file cannot be used."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__("BAD_NAME", f"{name!r:.80} {why}")


def safe_file(folder: Path, name: str) -> Path:
    """``folder/name``, which need not exist; ``BadName`` where the name is no plain one or a symbolic link leads out of the folder."""
    if not FILE_NAME.fullmatch(name):
        raise BadName(name, f"is no plain name of at most {LONGEST_NAME} letters, digits, dots and dashes")
    path = folder / name
    try:
        inside = path.resolve().parent == folder.resolve()
    except (OSError, RuntimeError) as wrong:  # Python before 3.13 calls a circle of links a RuntimeError
        raise BadName(name, f"cannot be followed: {wrong}") from wrong
    if not inside:
        raise BadName(name, "is a link that leads out of its folder")
    return path
