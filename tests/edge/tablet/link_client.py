"""A slow, separate reading of docs/tablet-link.md: what a page does with the binary messages, one voxel at a time where it can be."""

import struct
import zlib

import lz4.block


class LinkClient:
    def __init__(self):
        self.epoch, self.bricks, self.rough, self.images = None, {}, {}, []

    def take(self, data):
        """Apply one message; answers its (type, seq)."""
        kind, codec, flags, seq, number, _, count, raw = struct.unpack_from("<BBHIQdII", data)
        payload = data[32:] if codec == 0 else lz4.block.decompress(data[32:], uncompressed_size=raw)
        assert len(payload) == raw
        kind = chr(kind)
        if kind == "I":
            self.images.append((number, flags, count & 0xFFFF, count >> 16, payload))
        elif number == self.epoch:
            places = list(struct.iter_unpack("<hhh", payload[: 6 * count]))
            rest = payload[6 * count :]
            getattr(self, f"_{kind}")(flags & 15, places, rest)
        return kind, seq

    def show(self, epoch):
        self.epoch, self.bricks, self.rough = epoch, {}, {}

    def _V(self, channel, places, rest):
        masks, values = rest[: 64 * len(places)], rest[64 * len(places) :]
        changed = [[p for p in range(512) if masks[64 * n + (p >> 3)] >> (p & 7) & 1] for n in range(len(places))]
        total = sum(map(len, changed))
        assert len(values) == 2 * total
        at = 0
        for place, voxels in zip(places, changed, strict=True):
            intensity, state = self.bricks.setdefault((channel, *place[::-1]), (bytearray(512), bytearray(512)))
            for p in voxels:
                intensity[p], state[p] = values[at], values[total + at]
                at += 1

    def _S(self, channel, places, rest):
        assert len(rest) == 128 * len(places)
        for n, place in enumerate(places):
            self.rough[(channel, *place[::-1])] = rest[64 * n : 64 * n + 64], rest[64 * (len(places) + n) :][:64]

    def crc32(self):
        crc, count = 0, 0
        for channel, z, y, x in sorted(self.bricks):
            intensity, state = self.bricks[channel, z, y, x]
            if any(state):
                crc = zlib.crc32(struct.pack("<Biii", channel, x, y, z) + bytes(intensity) + bytes(state), crc)
                count += 1
        return crc, count
