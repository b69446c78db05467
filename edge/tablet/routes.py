"""The routes of the gateway, and who may take each. What stands in no table is refused."""

from __future__ import annotations

from typing import NamedTuple

SMALL, PICTURE = 1 << 20, 64 << 20  # bytes of a body


class Route(NamedTuple):
    """``who``: anybody, paired or operator. ``own``: only from the device's own page (Origin). ``kept``: a browser may keep the answer."""

    method: str
    who: str
    own: bool = False
    kept: bool = False
    largest: int = SMALL


ROUTES = {
    "/": Route("GET", "anybody", kept=True),
    "/page/{path}": Route("GET", "anybody", kept=True),
    "/sw.js": Route("GET", "anybody", kept=True),
    "/favicon.ico": Route("GET", "anybody", kept=True),  # browsers ask for it on every page, /trust too
    "/trust": Route("GET", "anybody"),
    "/ca.crt": Route("GET", "anybody"),
    "/api/me": Route("GET", "anybody"),
    "/api/pair": Route("POST", "anybody", own=True),
    "/api/unpair": Route("POST", "paired", own=True),
    "/link": Route("GET", "paired", own=True),
    "/api/sweeps/{sweep}/files/{name}": Route("GET", "paired"),
    "/api/sweeps/{sweep}/pictures": Route("POST", "operator", own=True, largest=PICTURE),
}
