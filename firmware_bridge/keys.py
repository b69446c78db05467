"""CURVE keys: who may connect over a network. A secret stays in its file (mode 0600), public keys are copied to the other side."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import zmq
import zmq.auth

from edge.config import ConfigError
from edge.errors import SonosweepError

KEY_LENGTH = 40  # Z85 text of 32 bytes


class BadKey(SonosweepError):
    """A key file cannot be used or made."""


def make_keys(name: str, folder: Path) -> tuple[Path, Path]:
    """Make ``name``.key (to be copied to the other side) and ``name``.key_secret (to stay); answers both paths.

    ``BadKey`` where one exists already or the folder cannot be written.
    """
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    if not name or Path(name).name != name or name.startswith("."):
        raise BadKey(f"{name!r} cannot be the name of a key; use a plain word such as probe7")
    for path in (public, secret):
        if path.exists():
            raise BadKey(f"{path} exists already; move it away first, or choose another name")
    before = os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        zmq.auth.create_certificates(folder, name)
        secret.chmod(0o600)
        public.chmod(0o644)
    except OSError as wrong:
        raise BadKey(f"{folder}: {wrong.strerror}; choose another folder with -o") from wrong
    finally:
        os.umask(before)
    return public, secret


def read_key_pair(path: Path) -> tuple[bytes, bytes]:
    """(public, secret) from a ``.key_secret`` file; ``BadKey`` where it is readable by all or holds no pair."""
    public, secret = _read(path)
    if secret is None:
        raise BadKey(f"{path} holds no secret key; name the file that ends in .key_secret")
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise BadKey(f"{path} can be read by everybody on this machine; make new keys, or chmod 600 it if nobody has")
    return public, secret


def read_public_key(path: Path) -> bytes:
    """The public key in a ``.key`` file; ``BadKey`` where there is none."""
    return _read(path)[0]


def check_allowed_keys(folder: str) -> Path:
    """The folder of the front ends' public keys; ``ConfigError`` where it has none, or a file in it is no key."""
    if not folder:
        raise ConfigError("bridge.server_key is set without bridge.allowed_keys; name the folder with the front ends' .key files")
    files = sorted(Path(folder).glob("*.key"))
    if not files:
        raise ConfigError(f"bridge.allowed_keys: {folder} holds no .key file; copy the public key of each front end into it")
    for file in files:
        read_public_key(file)
    return Path(folder)


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as wrong:
        raise BadKey(f"{path} is not a key file ({wrong}); make one with `sonosweep keys`") from wrong
    for key in filter(None, (public, secret)):
        if len(key) != KEY_LENGTH:
            raise BadKey(f"{path}: a key has {KEY_LENGTH} characters, not {len(key)}; copy the file again")
    return public, secret
