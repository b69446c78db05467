"""``sonosweep dicom queue``: what waits to be sent, what was stored and committed, what was refused and in which words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge.commands.options import add_config, add_json, read_config
from edge.console import result, table
from edge.dicom.queue import Entry, Queue
from edge.errors import SonosweepError

SUMMARY = "show the queue of objects for the PACS; try refused ones again, or drop them"
EXAMPLES = """  sonosweep dicom queue list
  sonosweep dicom queue retry 2.25.123      # or all: everything that was refused
  sonosweep dicom queue drop 2.25.123 --yes"""


class NotMeant(SonosweepError):
    """Dropping an object cannot be undone, and nobody has said that it is meant."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with which objects."""
    parser.add_argument("word", choices=("list", "retry", "drop"), help="list; retry: send again; drop: forget")
    parser.add_argument("uids", nargs="*", metavar="UID", help="SOP Instance UIDs, or `all` that were refused")
    parser.add_argument("--yes", action="store_true", help="drop: it is meant")
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0, or 1 where something was refused by the PACS."""
    queue = Queue(Path(read_config(options).dicom.folder))
    refused = [entry.uid for entry in queue.entries() if entry.state == "refused"]
    uids = refused if options.uids == ["all"] else options.uids
    if options.word == "drop" and not options.yes:
        raise NotMeant("what is dropped was perhaps never sent and cannot be sent any more; say --yes if it is meant")
    for uid in uids if options.word != "list" else ():
        if options.word == "drop":
            queue.drop(uid)
        else:
            queue.retry(uid)
    entries = queue.entries()
    result(as_rows(entries), as_json=options.json, text=told(entries))
    return 1 if any(entry.state == "refused" for entry in entries) else 0


def as_rows(entries: list[Entry]) -> list[dict[str, Any]]:
    """Entries as values that JSON knows."""
    return [
        {"uid": e.uid, "name": e.name, "state": e.state, "MiB": round(e.bytes / 2**20, 2), "attempts": e.attempts, "words": e.words}
        for e in entries
    ]


def told(entries: list[Entry]) -> str:
    """For people."""
    rows = as_rows(entries)
    return table(rows, ["name", "state", "MiB", "attempts", "uid", "words"]) if rows else "the queue is empty"
