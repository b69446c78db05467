"""``sonosweep dicom worklist``: who is expected, as fields of an exam."""

from __future__ import annotations

import argparse
import datetime

from edge.commands.options import add_config, add_json, read_config
from edge.console import result, say, table
from edge.dicom.worklist import ask, query

SUMMARY = "ask the clinic's worklist who is expected"
EXAMPLES = """  sonosweep dicom worklist                    # today's
  sonosweep dicom worklist --accession A123 --date any --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to ask for."""
    parser.add_argument("--name", default="", help="of the patient; * stands for anything")
    parser.add_argument("--id", default="", help="of the patient")
    parser.add_argument("--accession", default="", help="number of the order")
    parser.add_argument("--date", type=_date, default="today", help="such as 2026-11-27, today, or any (default %(default)s)")
    parser.add_argument("--modality", default="US", help='"" = any (default %(default)s)')
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0 where the worklist answered."""
    asked = query(
        patient_name=options.name, patient_id=options.id, accession=options.accession, date=options.date, modality=options.modality
    )
    found, malformed = ask(read_config(options).dicom, asked)
    if malformed:
        say(f"sonosweep: {malformed} answers were malformed and left out", "warning")
    rows = [one._asdict() for one in found]
    columns = ["when", "patient_name", "patient_id", "birth_date", "sex", "accession", "what"]
    flat = [{"when": one.when, "what": one.what} | one.exam for one in found]
    result(rows, as_json=options.json, text=table(flat, columns) if flat else "nobody is expected")
    return 0


def _date(text: str) -> str:
    if text == "any":
        return ""
    if text == "today":
        return datetime.date.today().isoformat()
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date such as 2026-11-27, today or any") from None
