"""A CycloneDX bill of materials, made of the metadata that the libraries bring along and of the lock's checksums."""

from __future__ import annotations

import json
import re
import uuid
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

LOCKED = re.compile(r"^([a-z0-9.-]+)==(\S+) \\\n\s+--hash=sha256:([0-9a-f]{64})$", re.M)
BUNDLES = "edge/bundles"


def bill(site: Path, lock: Path, version: str, epoch: str, digests: dict[str, str]) -> str:
    """JSON. ``site``: the libraries as installed; ``epoch``: when, ISO 8601; ``digests``: sha256 of the model bundles by file name."""
    hashes = {name: digest for name, _, digest in LOCKED.findall(lock.read_text())}
    told = [message_from_string(path.read_text()) for path in sorted(site.glob("*.dist-info/METADATA"))]
    libraries = [_library(about, hashes) for about in told if about["Name"] != "sonosweep"]
    models = [
        {"type": "machine-learning-model", "bom-ref": name, "name": name, "version": version, "hashes": _sha256(digest)}
        for name, digest in sorted(digests.items())
    ]
    ours = next(about for about in told if about["Name"] == "sonosweep")
    reference = f"pkg:deb/sonosweep@{version}"
    components = sorted([*libraries, *models], key=lambda one: one["bom-ref"])
    about = {"type": "application", "bom-ref": reference, "name": "sonosweep", "version": version, "licenses": _licences(ours)}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, reference + json.dumps(components))}",
        "version": 1,
        "metadata": {"timestamp": epoch, "component": about},
        "components": components,
        "dependencies": [{"ref": reference, "dependsOn": [one["bom-ref"] for one in components]}],
    }
    return json.dumps(document, indent=1) + "\n"


def _library(about: Message, hashes: dict[str, str]) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", str(about["Name"])).lower()
    purl = f"pkg:pypi/{name}@{about['Version']}"
    found: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": about["Version"], "purl": purl}
    if licences := _licences(about):
        found["licenses"] = licences
    return found | {"hashes": _sha256(hashes[name])}


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _licences(about: Message) -> list[dict[str, Any]]:
    """The expression where there is one (PEP 639), else the classifiers, else the first line of the free text."""
    if about["License-Expression"]:
        return [{"expression": about["License-Expression"]}]
    classifiers = [text.split(" :: ")[-1] for text in about.get_all("Classifier", []) if text.startswith("License :: ")]
    free = str(about["License"] or "").strip().splitlines()[:1]
    return [{"license": {"name": name}} for name in classifiers or free]
