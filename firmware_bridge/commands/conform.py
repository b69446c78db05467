"""``sonosweep conform``: whether a front end keeps the wire's rules."""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from edge.atomic import replacing
from edge.commands.options import add_json
from edge.commands.outputs import check_outputs
from edge.config import BridgeConfig
from edge.console import result, say
from edge.files import CannotWrite
from firmware_bridge.conformance import Declared, judge
from firmware_bridge.conformance_report import as_html, as_markdown, as_text
from firmware_bridge.heard import Heard
from firmware_bridge.listening import listen

SUMMARY = "test a front end against the wire's rules: listens as the bridge would, then reports rule by rule"
EXAMPLES = """  sonosweep conform                                       # then start the front end; it sends to tcp://127.0.0.1:5555
  sonosweep probe sweep.igs.mha                           # in another terminal: a sweep, played as a front end would
  sonosweep conform --rate 30 --seconds 60 -o report.html
  sonosweep conform --endpoint tcp://0.0.0.0:5555 --server-key bridge.key_secret --allowed-keys allowed"""
FORMS = {".md": as_markdown, ".html": as_html}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to listen, for how long, and what the front end claims."""
    defaults = BridgeConfig()
    parser.add_argument("--endpoint", default=defaults.endpoint, metavar="EP", help="where the front end connects (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long to listen (%(default)s)")
    parser.add_argument("--rate", type=float, default=0.0, metavar="N", help="frames a second that the front end claims to send")
    parser.add_argument("--undisturbed", action="store_true", help="neither hang up nor stop reading to see what it does then")
    parser.add_argument("--server-key", default="", metavar="FILE", help="the bridge's .key_secret, for an encrypted link")
    parser.add_argument("--allowed-keys", default="", metavar="DIR", help="folder with the front end's public .key, for an encrypted link")
    parser.add_argument("--allow-plaintext", action="store_true", help="listen on a network without encryption")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the report: .html or .md")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0 where no rule was broken."""
    if options.out and options.out.suffix not in FORMS:
        raise CannotWrite(f"{options.out}: a report is one of {', '.join(FORMS)}")
    check_outputs([options.out])
    config = BridgeConfig(endpoint=options.endpoint, server_key=options.server_key, allowed_keys=options.allowed_keys)
    say(f"listening on {options.endpoint} for {options.seconds:g} s; start the front end now")
    heard = listen(config, options.seconds, disturb=not options.undisturbed, allow_plaintext=options.allow_plaintext)
    found = judge(heard, Declared(options.rate))
    about = _about(options, heard, Counter(one.outcome for one in found))
    if options.out:
        with replacing(options.out) as out:
            out.write(FORMS[options.out.suffix](about, found).encode())
    answer = about | {"rules": [msgspec.to_builtins(one) for one in found]}
    result(answer, as_json=options.json, text=as_text(about, found))
    return 1 if about["failed"] else 0


def _about(options: argparse.Namespace, heard: Heard, outcomes: Counter[str]) -> dict[str, Any]:
    images = {
        name: f"{one.kind} {one.width} x {one.height}, {one.spacing_mm[0]:g} x {one.spacing_mm[1]:g} mm"
        for name, one in heard.geometries.items()
    }
    return {
        "endpoint": options.endpoint,
        "bridge": f"sonosweep {version('sonosweep')} on {platform.machine()}",
        "seconds": options.seconds,
        "messages": heard.messages,
        "frames": heard.frames,
        "sweeps": heard.sweeps,
        "images": images,
        "passed": outcomes["pass"],
        "failed": outcomes["fail"],
        "not_seen": outcomes["not seen"],
    }
