"""Small sequences as PLUS writes them."""

import zlib

import numpy as np

IMAGES = np.random.default_rng(1).integers(0, 255, (3, 4, 5), dtype=np.uint8)
IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


def meta(path, images=IMAGES, *, fields=(), frames=(), spacing="0.5 0.25 1", size=None, compressed=True, payload=None):
    """A MetaImage sequence as PLUS writes it; ``fields`` override header fields, ``frames`` are (index, key, value)."""
    raw = images.tobytes() if payload is None else payload
    data = zlib.compress(raw) if compressed else raw
    head = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        "DimSize": size or " ".join(map(str, images.shape[::-1])),
        "Kinds": "domain domain list",
        "ElementSpacing": spacing,
        "ElementType": "MET_USHORT" if images.dtype.itemsize == 2 else "MET_UCHAR",
        "UltrasoundImageOrientation": "MF",
        **dict(fields),
    }
    lines = [f"{k} = {v}" for k, v in head.items()] + [f"Seq_Frame{i:04d}_{k} = {v}" for i, k, v in frames]
    path.write_bytes(("\n".join(lines) + "\nElementDataFile = LOCAL\n").encode() + data)
    return path


def matrix(text):
    return np.array(text.split(), float).reshape(4, 4)
