"""Detached signatures of packages: Ed25519 over the file's SHA-256 and a fixed sentence, so that a signature means nothing elsewhere.

``FILE.deb.sig`` holds 64 bytes. The device trusts the public keys (PEM) in a folder; the private key never comes near one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from edge.atomic import replacing
from edge.errors import SonosweepError

TRUSTED = Path("/etc/sonosweep/update-keys")
SUFFIX = ".sig"
MEANING = b"sonosweep package, signature 1\0"


class SignatureRefused(SonosweepError):
    """A package may not be installed: it is unsigned, signed by somebody else, or changed since."""


class KeyUnreadable(SonosweepError):
    """A key is missing, or not an Ed25519 key in PEM."""


def make_key(private: Path, public: Path) -> None:
    """A new pair; the private one is for nobody else's eyes. ``FileExistsError`` where one would be replaced."""
    key = Ed25519PrivateKey.generate()
    private.touch(0o600, exist_ok=False)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def sign(package: Path, private: Path) -> Path:
    """Write the signature beside the package."""
    try:
        key = load_pem_private_key(private.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise KeyUnreadable(f"{private}: {wrong}") from wrong
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnreadable(f"{private}: is not an Ed25519 key")
    path = package.with_name(package.name + SUFFIX)
    with replacing(path) as out:
        out.write(key.sign(_signed(package)))
    return path


def verify(package: Path, trusted: Path = TRUSTED) -> Path:
    """The trusted key (``*.pem`` in a folder) whose holder signed the package. ``SignatureRefused``, ``KeyUnreadable``."""
    path = package.with_name(package.name + SUFFIX)
    try:
        signature, signed = path.read_bytes(), _signed(package)
    except OSError as wrong:
        raise SignatureRefused(f"{wrong.filename}: {wrong.strerror}; a package comes with its {SUFFIX} file beside it") from wrong
    keys = sorted(trusted.glob("*.pem"))
    if not keys:
        raise KeyUnreadable(f"{trusted}: holds no key (*.pem); nothing can be trusted")
    for path in keys:
        try:
            _public(path).verify(signature, signed)
        except InvalidSignature:
            continue
        return path
    raise SignatureRefused(f"{package}: is signed by none of {', '.join(key.stem for key in keys)}, or was changed since")


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as wrong:
        raise KeyUnreadable(f"{path}: {wrong}") from wrong
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnreadable(f"{path}: is not an Ed25519 key")
    return key


def _signed(package: Path) -> bytes:
    with package.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return MEANING + digest.digest()
