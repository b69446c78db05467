"""Address, code and QR of an open pairing window, for a terminal."""

from __future__ import annotations

import io
from typing import Any

import segno


def pairing_text(told: dict[str, Any]) -> str:
    """``told`` is what the gateway answers to ``pair``."""
    picture = io.StringIO()
    segno.make(told["url"]).terminal(picture, compact=True)
    code = f"{told['code'][:4]} {told['code'][4:]}"
    return (
        f"{picture.getvalue()}\nopen {told['url'].partition('#')[0]} on the tablet and type {code}, or scan the picture; within two minutes"
    )
