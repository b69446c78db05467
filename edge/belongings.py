"""What a device has gathered since it left the factory: sweeps, what is known of them, pairings, keys, logs. Counted, hashed, deleted."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from edge.atomic import sync_folder
from edge.config import Config
from edge.files.names import SWEEP
from edge.tablet.library import TRASH
from edge.tablet.privacy import PATIENT_FIELDS

OF_A_SWEEP = re.compile(rf"\.?{SWEEP.pattern}[._-].*")  # half-written files begin with a dot
TOLD_FREELY = PATIENT_FIELDS | {"notes", "operator"}
NAMES = ("patient_name", "operator")
SHORTEST_VALUE = 3  # of a patient's field that is looked for in text: a shorter one is part of any word


class Kind(NamedTuple):
    """A row of what is counted."""

    name: str
    endings: tuple[str, ...]


SWEEP_KINDS = (
    Kind("recordings", (".mcap", ".mcap.damaged")),
    Kind("exams", (".json",)),
    Kind("volumes", (".nrrd", ".mha", ".nii.gz")),
    Kind("pictures", (".png", ".mp4", ".webm")),
    Kind("DICOM objects", (".dcm",)),
)
TABLET_KINDS = (Kind("pairings", ("tablets.json",)), Kind("keys", ("ca.pem", "ca.key", "leaf.pem")), Kind("logs", (".jsonl",)))


class Belongings:
    """Of the device that ``config`` describes. Looks only; :meth:`delete` deletes."""

    def __init__(self, config: Config, *, link_keys: bool = False) -> None:
        recordings = Path(config.record.folder)
        folders = sorted({recordings, Path(config.volume.save or recordings)})
        self.folders = [*folders, Path(config.tablet.folder), Path(config.dicom.folder)]
        sweeps = [path for folder in folders for place in (folder, folder / TRASH) for path in _inside(place)]
        self.sweeps = sorted(path for path in sweeps if OF_A_SWEEP.fullmatch(path.name))
        tablet = list(_inside(Path(config.tablet.folder)))
        self.tablet = sorted(path for path in tablet if any(path.name.endswith(kind.endings) for kind in TABLET_KINDS))
        queue = Path(config.dicom.folder)
        self.queue = sorted(path for path in queue.rglob("*") if path.is_file() or path.is_symlink()) if queue.is_dir() else []
        self.link_keys = sorted(_link_keys(config)) if link_keys else []

    def counts(self) -> dict[str, int]:
        """How many files of each kind, paired tablets by number."""
        counts = {kind.name: sum(path.name.endswith(kind.endings) for path in self.sweeps) for kind in SWEEP_KINDS}
        counts["other files of sweeps"] = len(self.sweeps) - sum(counts.values())
        counts |= {kind.name: sum(path.name.endswith(kind.endings) for path in self.tablet) for kind in TABLET_KINDS}
        counts["pairings"] = sum(len(_known(path)) for path in self.tablet if path.name == "tablets.json")
        counts["files of the queue for the PACS"] = len(self.queue)
        return counts | ({"link keys": len(self.link_keys)} if self.link_keys else {})

    def hashes(self) -> Iterator[dict[str, Any]]:
        """Name, size and SHA-256 of each file of a sweep but for what is known of its exam: enough to tell whether a copy is whole."""
        for path in self.sweeps:
            if path.is_file() and not path.name.endswith(".json"):
                with path.open("rb") as file:
                    digest = hashlib.sha256()
                    while piece := file.read(1 << 20):
                        digest.update(piece)
                name = f"{TRASH}/{path.name}" if path.parent.name == TRASH else path.name
                yield {"name": name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}

    def patient_values(self) -> set[str]:
        """Whatever the exams say of patients in free words, names also word by word: to be looked for where none of it may be."""
        found: set[str] = set()
        for path in self.sweeps:
            exam = _known(path).get("exam") if path.name.endswith(".json") else None
            for field, value in exam.items() if isinstance(exam, dict) else ():
                if field in TOLD_FREELY and isinstance(value, str):
                    found |= {value.strip(), re.sub(r"[^a-z0-9-]", "", value.lower())}  # the latter: as in the name of a picture
                    found |= set(re.findall(r"\w+", value)) if field in NAMES else set()
        return {value for value in found if len(value) >= SHORTEST_VALUE}

    def delete(self) -> int:
        """Delete all of it, and put that on the disk; answers how many files went."""
        paths = [*self.sweeps, *self.tablet, *self.queue, *self.link_keys]
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            sync_folder(folder)
        return len(paths)


def scrubbed(value: Any, words: Iterable[str]) -> Any:
    """``value`` (as JSON knows it) with each of ``words`` taken out of its texts."""
    if isinstance(value, str):
        for word in sorted(words, key=len, reverse=True):
            value = re.sub(re.escape(word), "(removed)", value, flags=re.IGNORECASE)
        return value
    if isinstance(value, dict):
        return {key: scrubbed(inner, words) for key, inner in value.items()}
    return [scrubbed(inner, words) for inner in value] if isinstance(value, list | tuple) else value


def _inside(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from folder.iterdir()


def _known(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        told = json.loads(path.read_bytes())
        return told if isinstance(told, dict) else {}
    return {}


def _link_keys(config: Config) -> Iterator[Path]:
    if config.bridge.server_key:
        secret = Path(config.bridge.server_key)
        yield from (path for path in (secret, secret.with_suffix(".key")) if path.exists())
    if config.bridge.allowed_keys:
        yield from Path(config.bridge.allowed_keys).glob("*.key")
