"""What pydicom raises on bytes that are no DICOM, found by mutating objects; and its warnings, kept from our log."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.errors import BytesLengthException, InvalidDicomError

MALFORMED = (
    InvalidDicomError,
    BytesLengthException,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OSError,
    ArithmeticError,
    RuntimeError,  # RecursionError and NotImplementedError too
    MemoryError,
    AssertionError,
)


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom's warnings about the values of others are not for our log: what matters is refused by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
