"""Files of a sweep in one ZIP with a manifest: the size and SHA-256 of each, so that whoever gets it can tell that nothing is missing."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edge.atomic import replacing
from edge.files.errors import CannotWrite, MalformedFile

MANIFEST = "manifest.json"
FORMAT = "sonosweep-export"
PACKED = (".mcap", ".nrrd", ".mha", ".gz", ".png", ".h5", ".zip", ".mp4", ".webm")  # compressed already: kept as they are
LARGEST_MANIFEST = 1 << 20
MOST_FILES = 10_000
LARGEST_BYTES = 64 << 30
LARGEST_DIRECTORY = MOST_FILES * 400
_PIECE = 1 << 20
_TAIL = (1 << 16) + 100
_THEN = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP can say: the same files give the same archive


def write_archive(path: Path, files: Iterable[Path], told: Mapping[str, Any]) -> list[str]:
    """Write ``files`` under their names, whole or not at all; ``told`` goes into the manifest. Answers the names. ``CannotWrite``."""
    chosen = sorted(files, key=lambda file: file.name)
    names = [file.name for file in chosen]
    if len(set(names)) != len(names) or MANIFEST in names:
        raise CannotWrite(f"{path}: two files have the same name, or one is called {MANIFEST}; rename it")
    entries: list[dict[str, Any]] = []
    with replacing(path) as out, zipfile.ZipFile(out, "w", allowZip64=True) as archive:
        for file in chosen:
            entries.append(_add(archive, file))
        manifest = {"format": FORMAT, "version": 1, **told, "files": entries}
        archive.writestr(_info(MANIFEST), json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    return names


def check_archive(path: Path) -> dict[str, Any]:
    """The manifest of an archive whose files are all there and unchanged. ``MalformedFile``; nothing is unpacked to the disk."""
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename: info for info in archive.infolist()[: MOST_FILES + 2]}
            manifest = _manifest(path, archive, infos)
            entries = {str(entry["name"]): entry for entry in manifest["files"]}
            if len(infos) > MOST_FILES or infos.keys() - {MANIFEST} != entries.keys():
                raise MalformedFile(f"{path}: what is in it is not what its manifest lists; export it again")
            for name, entry in entries.items():
                _check(path, archive, infos[name], int(entry["bytes"]), str(entry["sha256"]))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, TypeError, ValueError, NotImplementedError, RuntimeError) as wrong:
        raise MalformedFile(f"{path}: is no export of sonosweep that can be read: {str(wrong)[:200]}") from wrong
    return manifest


def _check_directory(path: Path) -> None:
    """The list of files is read whole when a ZIP is opened: not one that is larger than ours can be."""
    with path.open("rb") as file:
        file.seek(max(file.seek(0, 2) - _TAIL, 0))
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    size = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # ZIP64: its own end lies before the locator
        size = int.from_bytes(tail[end - 36 : end - 28], "little")
    if size > LARGEST_DIRECTORY:
        raise MalformedFile(f"{path}: lists files in {size} bytes; an export of sonosweep has at most {MOST_FILES}")


def _manifest(path: Path, archive: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo]) -> dict[str, Any]:
    if MANIFEST not in infos or infos[MANIFEST].file_size > LARGEST_MANIFEST:
        raise MalformedFile(f"{path}: has no {MANIFEST} of a sonosweep export")
    with archive.open(infos[MANIFEST]) as file:
        manifest = json.loads(file.read(LARGEST_MANIFEST))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or not isinstance(manifest.get("files"), list):
        raise MalformedFile(f"{path}: its {MANIFEST} is none of a sonosweep export")
    return manifest


def _check(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int, sha256: str) -> None:
    """Stops at the size that the manifest tells, so that a bomb is not unpacked further than that."""
    if info.file_size != size or size > LARGEST_BYTES or size > 1100 * max(info.compress_size, 1):
        raise MalformedFile(f"{path}: {info.filename} is {info.file_size} bytes out of {info.compress_size}; {size} were exported")
    digest, left = hashlib.sha256(), size
    with archive.open(info) as file:
        while piece := file.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            digest.update(piece)
    if left or digest.hexdigest() != sha256:
        raise MalformedFile(f"{path}: {info.filename} is not what was exported; its checksum differs")


def _add(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    info = _info(file.name)
    info.compress_type = zipfile.ZIP_STORED if file.suffix.lower() in PACKED else zipfile.ZIP_DEFLATED
    with file.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
        while piece := source.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            target.write(piece)
    return {"name": file.name, "bytes": size, "sha256": digest.hexdigest()}


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _THEN)
    info.external_attr = 0o644 << 16
    return info
