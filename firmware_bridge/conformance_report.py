"""The report of a conformance test: for the terminal, as Markdown, as one HTML page."""

from __future__ import annotations

import html
from typing import Any

from edge.console import table
from firmware_bridge.conformance import RULES, Result

COLUMNS = ["rule", "outcome", "says", "measured"]
STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#111;background:#fff}
table{border-collapse:collapse;width:100%}td,th{border:1px solid #bbb;padding:.35em .6em;text-align:left;vertical-align:top}
.fail td:nth-child(2){background:#b00020;color:#fff;font-weight:bold}.pass td:nth-child(2){background:#d7f0dc}td p{margin:.3em 0 0}"""


def as_text(about: dict[str, Any], found: list[Result]) -> str:
    """A table, and a cure for each rule that was broken."""
    lines = [table([{name: getattr(one, name) for name in COLUMNS} for one in found], COLUMNS), "", verdict(about)]
    return "\n".join([*lines, *(f"{one.rule}: {one.cure}" for one in found if one.cure)])


def as_markdown(about: dict[str, Any], found: list[Result]) -> str:
    """Headings, what was tested, and the table."""
    lines = ["# Conformance of a front end", "", verdict(about), "", *(f"- {name}: {_plain(value)}" for name, value in about.items()), ""]
    lines += ["| rule | outcome | it says | measured | cure |", "| --- | --- | --- | --- | --- |"]
    for one in found:
        outcome = f"**{one.outcome}**" if one.outcome == "fail" else one.outcome
        cells = (one.rule, outcome, one.says, one.measured, one.cure)
        lines.append(f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def as_html(about: dict[str, Any], found: list[Result]) -> str:
    """One page that needs no other file. What the front end sent is text in it and nothing else."""
    rows = "\n".join(
        f'<tr class="{one.outcome.replace(" ", "-")}"><td>{one.rule}</td><td>{one.outcome}</td><td>{_safe(one.says)}</td>'
        f"<td>{_safe(one.measured)}{f'<p><b>Cure:</b> {_safe(one.cure)}</p>' if one.cure else ''}</td></tr>"
        for one in found
    )
    facts = "".join(f"<li>{_safe(name)}: {_safe(_plain(value))}</li>" for name, value in about.items())
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Conformance of a front end</title><style>{STYLE}</style>'
    body = f"<h1>Conformance of a front end</h1><p>{_safe(verdict(about))}</p><ul>{facts}</ul>"
    columns = "<tr><th>rule</th><th>outcome</th><th>it says</th><th>measured</th></tr>"
    return f"{head}{body}<table>{columns}{rows}</table></html>\n"


def rules_table() -> str:
    """The rules themselves, for docs/conformance.md."""
    rows = [f"| `{name}` | {rule.says} | {rule.cure} |" for name, rule in RULES.items()]
    return "\n".join(["| rule | a front end keeps it where | else |", "| --- | --- | --- |", *rows])


def verdict(about: dict[str, Any]) -> str:
    """One sentence."""
    if about.get("messages") == 0:
        return (
            f"nothing came to {about['endpoint']} in {about['seconds']:g} s: start the front end while this listens, "
            "or `sonosweep probe FILE`, which plays a sweep as one"
        )
    counts = f"{about['passed']} rules kept, {about['failed']} broken, {about['not_seen']} not seen, in {about['frames']} frames"
    return f"{'does not conform' if about['failed'] else 'conforms as far as it was seen'}: {counts}"


def _plain(value: Any) -> str:
    return "; ".join(f"{key}: {inner}" for key, inner in value.items()) if isinstance(value, dict) else str(value)


def _safe(text: str) -> str:
    return html.escape(text)
