"""The device's network interfaces, and at which of their addresses a tablet most likely finds it."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SIOCGIFADDR = 0x8915  # netdevice(7): an interface's IPv4 address
ROUTES, INTERFACES = Path("/proc/net/route"), Path("/sys/class/net")
EVERYWHERE = "00000000"  # a default route's destination


def of_interfaces() -> dict[str, Address]:
    """IPv4 addresses by the name of their interface."""
    found: dict[str, Address] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an IPv4 address
                answer = fcntl.ioctl(asks, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found[name] = ipaddress.ip_address(answer[20:24])
    return found


def likeliest_first(
    candidates: Iterable[Address], of: dict[str, Address], routes: Path = ROUTES, interfaces: Path = INTERFACES
) -> list[Address]:
    """Where the default route leads out; then hardware (a radio of our own); then bridges and tunnels of this machine, and the rest."""
    metric: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in routes.read_text().splitlines()[1:]:
            name, destination, _, _, _, _, cost, *_ = line.split()
            if destination == EVERYWHERE:
                metric[name] = min(int(cost), metric.get(name, int(cost)))

    def rank(address: Address) -> tuple[int, int, str]:
        name = next((name for name, own in of.items() if own == address), None)
        if name in metric:
            return 0, metric[name], str(address)
        return (1 if name and (interfaces / name / "device").exists() else 2), 0, str(address)

    return sorted(candidates, key=rank)
