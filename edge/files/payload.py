"""The pixel bytes behind a header, raw or deflated, read in pieces: memory stays one piece and a small buffer."""

from __future__ import annotations

import zlib
from typing import BinaryIO, Literal

from edge.files.errors import MalformedFile

Encoding = Literal["raw", "deflate"]
DEFLATE_AT_BEST = 1032  # so many bytes come out of one
_INPUT_BYTES = 1 << 16
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


class Payload:
    """Reads on from where ``file`` stands. ``deflate`` covers zlib and gzip streams, and several of them in a row."""

    def __init__(self, file: BinaryIO, encoding: Encoding, name: str) -> None:
        self._file, self._name = file, name
        self._stream = zlib.decompressobj(_ZLIB_OR_GZIP) if encoding == "deflate" else None
        self._waiting = b""

    def exactly(self, size: int, what: str) -> bytearray:
        """The next ``size`` bytes; ``MalformedFile`` that names ``what`` where the file has no more or is damaged."""
        out = bytearray(size)
        filled = 0
        while filled < size:
            piece = self._piece(size - filled)
            if not piece:
                raise MalformedFile(f"{self._name}: the file ends within {what}; it was cut or copied incompletely")
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
        return out

    def _piece(self, most: int) -> bytes:
        """At least one and at most ``most`` bytes; none at the end."""
        if self._stream is None:
            return self._file.read(most)
        while True:
            if not self._waiting and not self._stream.eof:
                self._waiting = self._file.read(_INPUT_BYTES)
            if self._stream.eof:
                self._waiting = self._stream.unused_data or self._file.read(_INPUT_BYTES)
                if not self._waiting:
                    return b""
                self._stream = zlib.decompressobj(_ZLIB_OR_GZIP)
            ended = not self._waiting
            try:
                piece = self._stream.decompress(self._waiting, most)
            except zlib.error as wrong:
                raise MalformedFile(f"{self._name}: the compressed pixels are damaged ({wrong})") from wrong
            self._waiting = self._stream.unconsumed_tail
            if piece or ended:
                return piece
