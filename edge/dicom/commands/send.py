"""``sonosweep dicom send``: queue sweeps or DICOM files, and send what waits."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

from edge.commands.options import add_config, add_json, read_config
from edge.config import Config
from edge.console import result, say
from edge.daemon import AlreadyRunning, serve, sole
from edge.dicom.commands.queue import as_rows, told
from edge.dicom.commands.write import add_choices, written
from edge.dicom.commitment import Report
from edge.dicom.network import Dimse, listening
from edge.dicom.queue import Queue
from edge.dicom.sender import Sender
from edge.dicom.stow import StowRs

SUMMARY = "queue sweeps or DICOM files on the disk, and send what waits to the PACS"
EXAMPLES = """  sonosweep dicom send sweep_00000000deadbeef_0001
  sonosweep dicom send dicom-out/sweep_00000000deadbeef_0001-clip.dcm
  sonosweep dicom send --watch                # until it is stopped: whenever the PACS can be reached
  sonosweep dicom send leg.nrrd --only-queue  # the network may be gone"""
STEP_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to queue, and how long to keep at it."""
    parser.add_argument(
        "sweeps", nargs="*", metavar="SWEEP_OR_FILE", help="a sweep, a volume or recording, or a .dcm file; none: what waits"
    )
    parser.add_argument("--only-queue", action="store_true", help="send nothing now")
    parser.add_argument("--watch", action="store_true", help="keep sending until it is stopped")
    parser.add_argument("--wait", type=float, default=10.0, metavar="S", help="for reports of storage commitment (default %(default)s s)")
    add_choices(parser)
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0 where nothing waits and nothing was refused."""
    config = read_config(options)
    queue = Queue(Path(config.dicom.folder))
    refused = _enqueue(options, config, queue)
    if not options.only_queue:
        try:
            _send(options, config, queue)
        except AlreadyRunning:
            say("sonosweep: another `sonosweep dicom send` is at work; it sends what was queued", "warning")
    entries = queue.entries()
    result(as_rows(entries), as_json=options.json, text=told(entries))
    done = ("committed", "stored", "waiting") if options.only_queue else ("committed", "stored")
    return 1 if refused or any(entry.state not in done for entry in entries) else 0


def _enqueue(options: argparse.Namespace, config: Config, queue: Queue) -> list[str]:
    files = [Path(name) for name in options.sweeps if name.lower().endswith(".dcm")]
    for path in files:
        queue.add(path)
    options.sweeps = [name for name in options.sweeps if not name.lower().endswith(".dcm")]
    with queue.workplace() as folder:
        made, refused = written(options, config, folder)
        for path in made:
            queue.add(path)
    return refused


def _send(options: argparse.Namespace, config: Config, queue: Queue) -> None:
    dicom = config.dicom
    commit = dicom.commitment and not dicom.stow_url
    with ExitStack() as open_things:
        open_things.enter_context(sole(queue.folder, ".send"))

        def hear(report: Report) -> None:
            sender.hear(report)

        transport = StowRs(dicom) if dicom.stow_url else Dimse(dicom, hear)
        sender = Sender(queue, transport, dicom, commit=commit)
        if commit:
            open_things.enter_context(listening(dicom, hear))
        if options.watch:
            said = [""]

            def step() -> None:
                sender.step()
                if sender.unreachable != said[0]:
                    said[0] = sender.unreachable
                    say(f"dicom: {said[0] or 'the PACS answers'}", "warning" if said[0] else "info")
                time.sleep(STEP_S)

            serve(step)
            return
        sender.step(force=True)
        until = time.monotonic() + options.wait
        while commit and not sender.unreachable and time.monotonic() < until and queue.due("stored", force=True):
            time.sleep(0.1)
        if sender.unreachable:
            say(f"sonosweep: {sender.unreachable}; what waits stays in the queue: sonosweep dicom send --watch", "error")
