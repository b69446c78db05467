"""``sonosweep dicom ACTION``: sweeps as DICOM objects, on their way to a PACS and safely there."""

from __future__ import annotations

import argparse

from edge.commands.actions import Action, add_actions, run_action

SUMMARY = "write sweeps as DICOM, send them to a PACS, ask its worklist"
EXAMPLES = """  sonosweep dicom write sweep_00000000deadbeef_0001 -o dicom-out   # of the library: volume, clip, pictures
  sonosweep dicom write leg.nrrd -o dicom-out --anonymous
  sonosweep dicom send sweep_00000000deadbeef_0001                 # queue it, and send what waits
  sonosweep dicom send --watch                                     # keep sending whenever the PACS can be reached
  sonosweep dicom worklist --accession A123 --json                 # fields for the exam
  sonosweep dicom queue list"""
NEEDS = ("pydicom", "pynetdicom")
ACTIONS = {
    "write": Action("edge.dicom.commands.write", "a sweep or volume as DICOM files in a folder", NEEDS[:1], "dicom"),
    "send": Action("edge.dicom.commands.send", "queue sweeps or files, and send what waits", NEEDS, "dicom"),
    "worklist": Action("edge.dicom.commands.worklist", "who is expected, as fields of an exam", NEEDS, "dicom"),
    "queue": Action("edge.dicom.commands.queue", "what waits, what was stored and committed, what was refused", NEEDS[:1], "dicom"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action and its words."""
    add_actions(parser, ACTIONS)


def run(options: argparse.Namespace) -> int:
    """Exit status of the action."""
    return run_action(options, ACTIONS)
