"""What clients ask for: a table of words, and where each is found in what 3D Slicer, PLUS and plain programs send."""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.sax.saxutils import escape

from edge.openigtlink.bodies import CommandBody, pack_command, parse_command, parse_text
from edge.openigtlink.envelope import Envelope
from edge.openigtlink.outbox import Outgoing
from edge.openigtlink.scene import text_message

WORDS = {  # as it is said, in small letters: what it means here
    "start": "start",
    "startsweep": "start",
    "startrecording": "start",
    "startvolumereconstruction": "start",
    "stop": "stop",
    "stopsweep": "stop",
    "stoprecording": "stop",
    "stopvolumereconstruction": "stop",
    "snapshot": "snapshot",
    "getvolume": "snapshot",
    "getvolumereconstructionsnapshot": "snapshot",
}
_NAMED = re.compile(r"""<Command\b[^>]*\bName\s*=\s*["']([A-Za-z]{1,64})["']""")
_PLUS_STRING = "CMD_"  # PLUS before commands had a message of their own: STRING named CMD_7, answered by ACK_7


class Request(NamedTuple):
    """``word`` is one of the meanings, or what was said where it is not known. ``answer`` makes the reply."""

    word: str
    known: bool
    envelope: Envelope
    number: int

    def answer(self, done: bool, text: str, at_ns: int) -> Outgoing:
        """As the client asked: RTS_COMMAND to a COMMAND, STRING to a STRING."""
        if self.envelope.kind == "COMMAND":
            content = f"<Command><Result>{str(done).lower()}</Result><Message>{escape(text)}</Message></Command>"
            body = CommandBody(self.number, "" if done else "ERROR", content)
            status = {"Status": "SUCCESS" if done else "FAIL"}
            return Outgoing("RTS_COMMAND", self.envelope.device, at_ns, pack_command(body), status)
        device = self.envelope.device
        device = f"ACK_{device[len(_PLUS_STRING) :]}" if device.startswith(_PLUS_STRING) else device
        return text_message(device, f"{'OK' if done else 'ERROR'}: {text}", at_ns)


def read_request(envelope: Envelope) -> Request:
    """Of a COMMAND or a STRING. ``BadBody``."""
    if envelope.kind == "COMMAND":
        command = parse_command(envelope.content)
        said, number = _said(command.name, command.content), command.number
    else:
        said, number = _said("", parse_text(envelope.content)), 0
    word = WORDS.get(said.lower(), "")
    return Request(word or said[:40], bool(word), envelope, number)


def _said(name: str, content: str) -> str:
    found = _NAMED.search(content[:4096])
    return found[1] if found else name.strip() or content.strip()
