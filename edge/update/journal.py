"""What an update leaves on the disk before it touches anything, so that a power cut at any point ends in one version or the other.

``/var/lib/sonosweep-update`` belongs to root: ``next.deb`` is the verified package, ``previous.deb`` the one that ran before, ``pending``
says that an installation has begun. ``recover-update``, a shell script that needs nothing of ours, takes back what is pending.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.atomic import make_folder, replacing, sync_folder
from edge.errors import SonosweepError

FOLDER = Path("/var/lib/sonosweep-update")
ROOM = 8  # times the package: unpacked it is some five times as large, and the one before stays


class NoRoom(SonosweepError):
    """The disk has no room for the package and the one before."""


class Journal:
    """The folder. Every write is on the disk when it returns."""

    def __init__(self, folder: Path = FOLDER) -> None:
        make_folder(folder)
        folder.chmod(0o700)
        self.folder = folder
        self.next, self.previous, self.pending = folder / "next.deb", folder / "previous.deb", folder / "pending"

    def stage(self, package: Path, suffix: str) -> Path:
        """A copy that nobody changes after it was verified, with its signature (``suffix``). ``NoRoom``, ``OSError``."""
        needed, free = ROOM * package.stat().st_size, shutil.disk_usage(self.folder).free
        if free < needed:
            raise NoRoom(f"{self.folder}: {free >> 20} MiB are free and {needed >> 20} MiB are needed; delete sweeps that were exported")
        _copy(package, self.next)
        signature = self.next.with_name(self.next.name + suffix)
        signature.unlink(missing_ok=True)  # never one of another package
        if (theirs := package.with_name(package.name + suffix)).exists():
            _copy(theirs, signature)
        return self.next

    @contextmanager
    def new_previous(self) -> Iterator[Path]:
        """Where to write what is gone back to; it is that once the block has ended."""
        with tempfile.TemporaryDirectory(dir=self.folder) as made:
            path = Path(made, self.previous.name)
            yield path
            _copy(path, self.previous)

    def begin(self, version: str) -> None:
        """From now on a power cut is followed by ``recover-update``."""
        with replacing(self.pending) as out:
            out.write(f"{version}\n".encode())

    def end(self) -> None:
        """The system is as it is meant to be."""
        self.pending.unlink(missing_ok=True)
        sync_folder(self.folder)

    @property
    def floor(self) -> str:
        """The oldest version that may be installed; "" where no package has said one."""
        path = self.folder / "oldest"
        return path.read_text().strip() if path.exists() else ""

    def raise_floor(self, version: str) -> None:
        """Once a package has run well, no older one than it allows comes back."""
        with replacing(self.folder / "oldest") as out:
            out.write(f"{version}\n".encode())


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, replacing(target) as out:
        shutil.copyfileobj(read, out)
