"""``sonosweep tablet``: the gateway that tablets connect to, and what is said to it from beside the device."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import msgspec

from edge.commands.options import add_config, add_json, read_config
from edge.console import result, say
from edge.daemon import sole
from edge.tablet.control import ask
from edge.tablet.pairing_text import pairing_text, trust_text
from edge.tablet.serving import serve

SUMMARY = "the page and the link for tablets; `pair` lets one in, `start` and `stop` are the device's own buttons"
EXAMPLES = """  sonosweep tablet                       # serve, as configured in /etc/sonosweep/edge.toml
  sonosweep tablet pair                  # on the device: open pairing for two minutes, show code and QR
  sonosweep tablet trust                 # where a tablet learns to trust the device, and the fingerprint to compare
  sonosweep tablet start                 # as the operator's button does; stop ends the sweep
  sonosweep tablet --run-dir run --insecure --port 8080    # on a desk, plain http, no patient names"""
WORDS = ("serve", "pair", "trust", "start", "stop")
TEXTS = {"pair": pairing_text, "trust": trust_text}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and where."""
    parser.add_argument("word", nargs="?", choices=WORDS, default="serve", help="serve (default), or what to say to the one that serves")
    add_config(parser)
    parser.add_argument("--port", type=int, metavar="N", help="instead of the configured one")
    parser.add_argument("--insecure", action="store_true", help="plain http instead of https; then without patient names")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM, or say a word and show the answer."""
    config = read_config(options)
    run_dir = Path(config.run_dir)
    if options.word != "serve":
        told = ask(run_dir, options.word)
        failed = bool(told.get("error"))
        text = TEXTS[options.word](told) if options.word in TEXTS and not failed else told.get("text", "done")
        result(told, as_json=options.json, text=text)
        return 1 if failed else 0
    tablet = config.tablet
    if options.port is not None:
        tablet = msgspec.structs.replace(tablet, port=options.port)
    if options.insecure:
        tablet = msgspec.structs.replace(tablet, secure=False)
    with sole(run_dir, "tablet"):
        asyncio.run(serve(msgspec.structs.replace(config, tablet=tablet)))
    say("tablet: stopped")
    return 0
