"""What can be wrong with bytes that should be OpenIGTLink, by name."""

from __future__ import annotations

from edge.errors import SonosweepError


class MalformedIgtl(SonosweepError):
    """Bytes that arrived are no OpenIGTLink message that is known here."""


class BadHead(MalformedIgtl):
    """The 58 bytes before a message are none of OpenIGTLink: from here on nothing in the stream can be found again."""


class TooLarge(BadHead):
    """A message promises more bytes than are taken."""


class BadCrc(MalformedIgtl):
    """The checksum of a message is wrong."""


class BadBody(MalformedIgtl):
    """What is in a message contradicts its sizes, or is out of range."""


class NotHandled(MalformedIgtl):
    """A right message that says something which is not handled here."""


class CannotSay(SonosweepError):
    """Something cannot be said in OpenIGTLink: a name too long, an image too large."""
