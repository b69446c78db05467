"""A port for a server that somebody else starts later, and perhaps starts again."""

import secrets
import socket
from contextlib import suppress
from pathlib import Path

CHOICE = 8000


def free_port() -> int:
    """Of the loopback; below those that the kernel gives to whoever asks for any, so nobody gets it meanwhile."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = first - 1 - secrets.randbelow(min(CHOICE, first - 1024))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
