"""Finding and opening a model bundle: every file checked against the card's checksums, nothing unpickled or unpacked onto the disk."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path, PurePosixPath

from edge.motion.card import CARD, BundleCorrupt, Card, parse_card
from edge.motion.source import MotionUnavailable

LARGEST_BYTES = 2**30
CURE = "take the bundle from its source again, or pack it again with `sonosweep export bundle`"


class UnknownBundle(MotionUnavailable):
    """A bundle was asked for that is neither a file nor one that comes with the package."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what its card says. ``identity``: sha256 of the card, and so of all it holds."""

    path: Path
    card: Card
    identity: str
    files: dict[str, bytes]

    def graph(self, variant: str) -> bytes:
        """The ONNX step graph of a variant (``fp32``)."""
        return self.files[self.card.graphs[variant].file]


def shipped_bundles() -> dict[str, Path]:
    """The bundles that come with the package, by name: ``small`` for ``small.zip``."""
    found = {path.stem: path for path in (Path(str(resources("edge"))) / "bundles").glob("*.zip")}
    return dict(sorted(found.items()))


def find_bundle(name: str) -> Path:
    """The shipped bundle of that name, else the file or folder of that path; ``UnknownBundle`` lists the shipped names.

    A shipped name always means the shipped one, whatever lies in the current folder: ``./small`` is a folder of one's own.
    """
    shipped = shipped_bundles()
    if name in shipped:
        return shipped[name]
    if name and Path(name).exists():
        return Path(name)
    raise UnknownBundle(
        f"{name!r} is neither a file nor a bundle that comes with sonosweep; give the path of a bundle (folder or .zip), "
        f"or one of {', '.join(shipped) or '(none is installed)'}"
    )


def open_bundle(path: Path) -> Bundle:
    """Read the folder or .zip at ``path``. ``BundleCorrupt`` where anything in it is not what the card says."""
    if path.is_dir():
        return _read(path, lambda name: (path / name).read_bytes())
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path)
            return _read(path, archive.read)
    except OSError as wrong:
        raise BundleCorrupt(f"{path}: {wrong.strerror or wrong}; name a bundle (folder or .zip)") from wrong
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as wrong:
        raise BundleCorrupt(f"{path}: is not a whole .zip file: {wrong}; {CURE}") from wrong


def _check_entries(archive: zipfile.ZipFile, path: Path) -> None:
    entries = archive.infolist()
    for entry in entries:
        place = PurePosixPath(entry.filename)
        if place.is_absolute() or ".." in place.parts or "\\" in entry.filename:
            raise BundleCorrupt(f"{path}: the entry {entry.filename!r} would leave the bundle; {CURE}")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleCorrupt(f"{path}: the entry {entry.filename!r} is encrypted or packed in an unknown way; {CURE}")
    if len({entry.filename for entry in entries}) != len(entries):
        raise BundleCorrupt(f"{path}: holds a file twice; {CURE}")
    if sum(entry.file_size for entry in entries) > LARGEST_BYTES:
        raise BundleCorrupt(f"{path}: unpacks to more than {LARGEST_BYTES >> 20} MiB; {CURE}")


def _read(path: Path, read: Callable[[str], bytes]) -> Bundle:
    def fetch(name: str) -> bytes:
        try:
            return read(name)
        except (KeyError, OSError) as wrong:
            raise BundleCorrupt(f"{path}: {name} is missing or cannot be read; {CURE}") from wrong

    text = fetch(CARD)
    card = parse_card(text, f"{path}: {CARD}")
    files = {}
    for name, expected in card.files.items():
        files[name] = fetch(name)
        if hashlib.sha256(files[name]).hexdigest() != expected:
            raise BundleCorrupt(f"{path}: {name} is not the file that the card was written for; {CURE}")
    for name in (card.golden, *(graph.file for graph in card.graphs.values())):
        if name not in files:
            raise BundleCorrupt(f"{path}: {CARD} gives no sha256 for {name}; {CURE}")
    return Bundle(path, card, hashlib.sha256(text).hexdigest(), files)
