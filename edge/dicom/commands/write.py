"""``sonosweep dicom write``: a sweep or volume as DICOM files."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from edge.commands.options import add_config, add_json, read_config
from edge.config import Config
from edge.console import result, say
from edge.dicom.objects import SYNTAXES
from edge.dicom.sweeps import KINDS, SweepFiles, of_file, of_library, write_sweep
from edge.files.names import SWEEP
from edge.tablet.library import Library

SUMMARY = "write a sweep or volume as DICOM: Enhanced US Volume, Photoacoustic Image, US Multi-frame, Secondary Capture"
EXAMPLES = """  sonosweep dicom write sweep_00000000deadbeef_0001 -o dicom-out
  sonosweep dicom write leg.nrrd -o dicom-out --what volume --anonymous"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What, where to, and how."""
    parser.add_argument(
        "sweeps", nargs="+", metavar="SWEEP_OR_VOLUME", help="a sweep of the library by its id, or the path of a volume or recording"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder for the .dcm files")
    add_choices(parser)
    add_config(parser)
    add_json(parser)


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Which objects, and how they are written."""
    parser.add_argument(
        "--what",
        action="append",
        choices=KINDS,
        help="only this kind (may be given again); default all, copies only of volumes that few readers know",
    )
    parser.add_argument("--anonymous", action="store_true", help="leave out everything of the exam that names somebody")
    parser.add_argument("--every", type=_count, default=1, metavar="N", help="clip: only every Nth image")
    parser.add_argument("--compression", choices=tuple(SYNTAXES), help="of pixels, without loss, instead of the configured one")


def run(options: argparse.Namespace) -> int:
    """0 where everything was written; 1 where something was refused, which is said by name."""
    files, refused = written(options, read_config(options), options.output)
    text = "\n".join(map(str, files)) or "nothing was written"
    result({"files": [str(path) for path in files], "refused": refused}, as_json=options.json, text=text)
    return 1 if refused else 0


def written(options: argparse.Namespace, config: Config, folder: Path) -> tuple[list[Path], list[str]]:
    """The files of all sweeps that were named, and what was refused (it has been said)."""
    dicom = msgspec.structs.replace(config.dicom, compression=options.compression) if options.compression else config.dicom
    files: list[Path] = []
    refused: list[str] = []
    for name in options.sweeps:
        one = write_sweep(
            find(config, name), folder, dicom, kinds=tuple(options.what or KINDS), anonymous=options.anonymous, every=options.every
        )
        files += one.files
        refused += one.refused
        for sentence in one.refused:
            say(f"sonosweep: not written: {sentence}", "error")
    return files, refused


def find(config: Config, name: str) -> SweepFiles:
    """A sweep of the device's library, or files by path. ``NothingToWrite``, ``NoSuchSweep``."""
    recordings, volumes = Path(config.record.folder), Path(config.volume.save or config.record.folder)
    path, named = Path(name), SWEEP.match(Path(name).name)
    within = path.exists() and path.resolve().parent in (recordings.resolve(), volumes.resolve())
    if named and (within or (named[0] == name and not path.exists())):
        return of_library(Library(recordings, volumes), named[0])
    return of_file(path)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return int(text)
