"""What can be wrong with a file, by name."""

from __future__ import annotations

from edge.errors import SonosweepError


class MalformedFile(SonosweepError):
    """The file is damaged, cut, or contradicts itself."""


class NoFrames(MalformedFile):
    """The sweep is well formed as far as it goes, but no frame is in it."""


class UnknownFile(SonosweepError):
    """The file is of no format that can be read or written here."""


class UnsupportedFile(SonosweepError):
    """The format is known, but the file holds something that this program does not handle."""


class NoPhysicalSpacing(SonosweepError):
    """Nothing in the sweep says how large its pixels are."""


class NoCalibration(SonosweepError):
    """A PLUS configuration file lacks the transform that is needed from it."""


class CannotWrite(SonosweepError):
    """What was asked for cannot be written in this format."""


class LibraryMissing(SonosweepError):
    """A format needs a library that is not installed here."""


class NoImageArea(SonosweepError):
    """Nothing tells the image from the border around it."""
