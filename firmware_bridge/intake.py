"""The door for front ends: one bounded PULL socket, on a local file or on the network, there with CURVE and an allow-list.

No ZeroMQ heartbeats on either side: while the front end is held back its messages wait unread, the answers to heartbeats
among them, and both ends would take the link for dead (tried: each false alarm lost a frame and opened a second queue). TCP
keepalive finds a dead peer instead. A hostile peer can still grow this process with one message of endless parts, which no
ZeroMQ bound covers: hence the allow-list, and MemoryMax in systemd/sonosweep-bridge.service.
"""

from __future__ import annotations

import fcntl
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import zmq

from edge.config import BridgeConfig, ConfigError
from edge.errors import SonosweepError
from edge.messages import Buffer
from firmware_bridge.keys import check_allowed_keys, read_key_pair

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

ZAP_DOMAIN = "sonosweep"  # pyzmq's allow-list for "*" is not asked for a socket that names a domain: both name this one
KEEPALIVE_S = 5


class UnprotectedEndpoint(SonosweepError):
    """Anybody on the network could send images."""


class EndpointUnusable(SonosweepError):
    """The bridge cannot listen where it was told to."""


class EndpointTaken(EndpointUnusable):
    """Another bridge listens there."""


class Intake:
    """Where front ends push their messages. At most ``queue_frames`` wait for each of them; then it is held back."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], config: BridgeConfig, *, allow_plaintext: bool = False) -> None:
        check_endpoint(config, allow_plaintext=allow_plaintext)
        self._authenticator: ThreadAuthenticator | None = None
        self._lock: TextIO | None = None
        self._file: Path | None = None  # our socket's
        self.socket = context.socket(zmq.PULL)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, config.queue_frames)
        self.socket.setsockopt(zmq.MAXMSGSIZE, config.largest_message_mib << 20)
        self.socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self.socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_S)
        self.socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
        self.socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, KEEPALIVE_S)
        try:
            if config.server_key:
                self._protect(context, config)
            self._bind(config.endpoint)
        except BaseException:
            self.close()
            raise

    def receive(self) -> Sequence[Buffer] | None:
        """The parts of the next message, as they arrived; None where none waits."""
        try:
            return [part.buffer for part in self.socket.recv_multipart(zmq.DONTWAIT, copy=False)]
        except zmq.Again:
            return None

    def close(self) -> None:
        """Close at once. Our socket's file goes too (libzmq leaves it), while nobody else can have put his in its place."""
        self.socket.close(0)
        if self._file:
            self._file.unlink(missing_ok=True)
            self._file = None
        if self._lock:
            self._lock.close()
            self._lock = None
        if self._authenticator:
            self._authenticator.stop()
            self._authenticator = None

    def _protect(self, context: zmq.Context[zmq.Socket[bytes]], config: BridgeConfig) -> None:
        allowed = check_allowed_keys(config.allowed_keys)
        public, secret = read_key_pair(Path(config.server_key))
        from zmq.auth.thread import ThreadAuthenticator  # with asyncio and ssl: a fifth of the start of a bridge that has no keys

        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain=ZAP_DOMAIN, location=allowed)
        self.socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
        self.socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # nobody gets in should the authenticator be missing
        self.socket.setsockopt(zmq.CURVE_SERVER, 1)
        self.socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, secret)

    def _bind(self, endpoint: str) -> None:
        path = _file_of(endpoint)
        try:
            if path:
                self._lock = _lock(path)
            self.socket.bind(endpoint)
        except (OSError, zmq.ZMQError) as wrong:
            raise EndpointUnusable(
                f"bridge.endpoint {endpoint} cannot be used: {wrong.strerror}; is another bridge running, does the folder exist?"
            ) from wrong
        if path:
            self._file = path
            path.chmod(0o660)


def check_endpoint(config: BridgeConfig, *, allow_plaintext: bool = False) -> None:
    """``ConfigError`` for an endpoint that no front end can name; ``UnprotectedEndpoint`` for an open door on the network."""
    if wrong := wrong_with(config.endpoint):
        raise ConfigError(f"bridge.endpoint is {config.endpoint!r}: {wrong}")
    transport, _, address = config.endpoint.partition("://")
    if config.queue_frames < 1 or not 1 <= config.largest_message_mib <= 1024:
        raise ConfigError("bridge.queue_frames is at least 1 and bridge.largest_message_mib 1 to 1024")
    if transport == "tcp" and not config.server_key and not allow_plaintext and not _is_loopback(address.rpartition(":")[0]):
        raise UnprotectedEndpoint(
            f"{config.endpoint} is open to the network; set bridge.server_key and bridge.allowed_keys (keys from `sonosweep keys`),"
            " or --allow-plaintext where the cable leads to the front end and nowhere else"
        )


def wrong_with(endpoint: str) -> str:
    """Why no front end can be met at ``endpoint``, or nothing. libzmq takes any number for a port and listens on another one."""
    transport, _, address = endpoint.partition("://")
    if transport not in ("ipc", "tcp") or address in ("", "*"):
        return "it reads like tcp://127.0.0.1:5555 or ipc:///run/sonosweep/probe.ipc"
    port = address.rpartition(":")[2]
    if transport == "tcp" and not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        return "it ends in a port from 1 to 65535, as in tcp://127.0.0.1:5555"
    return ""


def _file_of(endpoint: str) -> Path | None:
    transport, _, address = endpoint.partition("://")
    return Path(address) if transport == "ipc" and not address.startswith("@") else None


def _lock(path: Path) -> TextIO:
    """Hold ``path``.lock until it is closed: libzmq puts its socket in the place of one that is there, whoever listens on that."""
    lock = Path(f"{path}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise EndpointTaken(f"another bridge listens on {path}; stop it first, or set another bridge.endpoint") from None
    return lock


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "lo"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name, an interface, or "*"
        return False
