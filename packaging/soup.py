"""``python packaging/soup.py``: write docs/soup.md, the list of software of unknown provenance, from the locks. A test holds it true."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "packaging/locks"
HEAD = """# Software of unknown provenance

Written by `python packaging/soup.py` from [packaging/locks](../packaging/locks), which hold a checksum for each wheel; licences and package
addresses stand in the CycloneDX file of each package. What the system brings (kernel, glibc, libstdc++, Python, systemd, TensorRT and CUDA
where they are used) is the integrator's to list: `dpkg-query -W` on the image.

| library | versions | what for | where it fails |
| --- | --- | --- | --- |
"""
HTTP = ("beneath aiohttp", "as aiohttp")
ORT = ("beneath ONNX Runtime", "as onnxruntime")
USES: dict[str, tuple[str, str]] = {
    "aiohttp": ("page and link of tablets, metrics", "the gateway is restarted; sweep and recording go on"),
    "cryptography": ("TLS certificates, signatures of updates", "the gateway does not start; updates are refused"),
    "lz4": ("bricks on the link to tablets", "the page's checksum differs and everything is sent again"),
    "mcap": ("recordings", "the recorder is restarted; what was synced is readable"),
    "msgspec": ("messages between services, configuration, cards", "a message is refused by name"),
    "nibabel": ("writing NIfTI", "that export fails by name"),
    "numpy": ("arrays everywhere", "a service is restarted"),
    "onnxruntime": ("runs the motion network where TensorRT does not", "the golden sequence of the bundle differs: the sweep is refused"),
    "pillow": ("JPEG of live images, PNG", "no live image; sweep and recording go on"),
    "pydicom": ("writing and reading DICOM", "that export fails by name; the queue keeps what it has"),
    "pynetdicom": ("associations with a PACS and a worklist", "what is queued waits"),
    "pyzmq": ("all transport between front end and services", "the service is restarted; losses are counted and named"),
    "segno": ("QR codes for pairing", "pairing by digits remains"),
    "tqdm": ("progress bars of commands", "a command fails; no service uses it"),
    "typing-extensions": ("beneath several", "as those"),
    "zstandard": ("compression within recordings", "as mcap"),
    "tomli": ("reads the configuration on Python 3.10", "services do not start and name the file"),
    "importlib-resources": ("beneath nibabel on Python 3.10 and 3.11", "as nibabel"),
    "packaging": ("beneath onnxruntime and nibabel", "as those"),
    "cffi": ("beneath cryptography", "as cryptography"),
    "pycparser": ("beneath cffi", "as cryptography"),
} | dict.fromkeys(("aiohappyeyeballs", "aiosignal", "async-timeout", "attrs", "frozenlist", "idna", "multidict", "propcache", "yarl"), HTTP)
USES |= dict.fromkeys(("coloredlogs", "flatbuffers", "humanfriendly", "mpmath", "protobuf", "sympy"), ORT)


def page() -> str:
    """The Markdown. ``KeyError`` for a library of which nobody has said what it is for."""
    versions: dict[str, dict[str, list[str]]] = {}
    for lock in sorted(LOCKS.glob("*.txt")):
        for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+) ", lock.read_text(), re.M):
            versions.setdefault(name, {}).setdefault(version, []).append(lock.stem)
    flavours = len(list(LOCKS.glob("*.txt")))
    rows = []
    for name in sorted(versions):
        told = [
            version if sum(map(len, versions[name].values())) == len(where) == flavours else f"{version} ({', '.join(where)})"
            for version, where in sorted(versions[name].items())
        ]
        purpose, failure = USES[name]
        rows.append(f"| {name} | {'; '.join(told)} | {purpose} | {failure} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    (ROOT / "docs/soup.md").write_text(page())
