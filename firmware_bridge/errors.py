"""Why a message from a front end is refused: one name for each reason, all below MalformedPacket."""

from edge.errors import SonosweepError


class MalformedPacket(SonosweepError):
    """A message that is not a valid frame. Every way of being wrong is a subclass, and nothing else is raised."""


class BadParts(MalformedPacket):
    """The message does not consist of header, extensions and payload."""


class BadMagic(MalformedPacket):
    """The first four bytes are not SSWP: this is no frame of ours, or its bytes are in the wrong order."""


class UnsupportedVersion(MalformedPacket):
    """The header is of a version that this bridge does not speak."""


class BadSize(MalformedPacket):
    """A size in the header does not agree with the parts, the image or the limits."""


class BadCrc(MalformedPacket):
    """The checksum over header, extensions and payload is wrong: the message was damaged."""


class BadField(MalformedPacket):
    """A field of the header is unknown, out of range, not finite, or contradicts another."""


class BadPose(MalformedPacket):
    """The pose is not a rigid placement of an image with the pixel spacing that the header gives."""


class BadExtension(MalformedPacket):
    """An extension block is cut off, not padded with zeros, repeated, or carries impossible values."""
