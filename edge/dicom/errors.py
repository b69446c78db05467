"""What can go wrong with DICOM, by name."""

from __future__ import annotations

from edge.errors import SonosweepError


class DirectionUnconfirmed(SonosweepError):
    """The sweep's direction was confirmed by nobody: the volume may be a mirror image, and a PACS keeps what it is given."""


class AcousticOutputUnknown(SonosweepError):
    """An Enhanced US Volume must say the acoustic output, the depth and the focus, and nobody has said them."""


class TransducerUnknown(SonosweepError):
    """A volume must say where the transducer was, and nobody has said it."""


class WavelengthUnknown(SonosweepError):
    """A Photoacoustic Image must say the wavelengths of its light, and nobody has said them."""


class ExamNotDicom(SonosweepError):
    """A field of the exam cannot be written as DICOM without changing what it says."""


class ClipTooLong(SonosweepError):
    """The live clip is larger than one object should be."""


class EncoderMissing(SonosweepError):
    """The compression that was asked for needs a library that is not installed."""


class NothingToWrite(SonosweepError):
    """Of this sweep nothing can be written as DICOM."""


class SweepsApart(SonosweepError):
    """A recording lies under a volume's name and is of another sweep."""


class MalformedDicom(SonosweepError):
    """Bytes from a file or from the network are no DICOM that is taken here."""


class AlreadyQueued(SonosweepError):
    """Another object with the same SOP Instance UID is in the queue: the same UID must never name two contents."""


class NoSuchObject(SonosweepError):
    """The queue holds no object of this UID."""


class QueueDamaged(SonosweepError):
    """What the queue knows of an object cannot be read; the object itself is not touched."""


class NotConfigured(SonosweepError):
    """Nobody has said where the PACS or the worklist is."""


class Unreachable(SonosweepError):
    """The PACS or its network does not answer now; what waits is tried again later."""


class WorklistRefused(SonosweepError):
    """The worklist's server answers, but not with a worklist."""
