"""UIDs that are the same whenever the same thing is written: made from what they name, below 2.25 (UUIDs; no root to register)."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

_NAMESPACE = uuid.UUID("6f1d0a52-9a3c-5e0b-8f57-3f6f8f0c2d11")
IMPLEMENTATION_NAME = "SONOSWEEP"


def uid_of(*words: str) -> str:
    """``2.25.`` and the UUID (version 5) of the words: at most 44 characters."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(words)).int}"


def sha256_of(path: Path) -> str:
    """Of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


IMPLEMENTATION_UID = uid_of("implementation")
