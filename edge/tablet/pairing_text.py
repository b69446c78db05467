"""Addresses, codes and QR pictures for a terminal: an open pairing window, and where the device is learned to be trusted."""

from __future__ import annotations

import io
from typing import Any

import segno


def pairing_text(told: dict[str, Any]) -> str:
    """``told`` is what the gateway answers to ``pair``."""
    code, page = f"{told['code'][:4]} {told['code'][4:]}", told["url"].partition("#")[0]
    return f"{_qr(told['url'])}\nopen {page} on the tablet and type {code}, or scan the picture; within two minutes"


def trust_text(told: dict[str, Any]) -> str:
    """``told`` is what the gateway answers to ``trust``."""
    return f"{_qr(told['url'])}\nopen {told['url']} on the tablet and compare the fingerprint (SHA-256):\n{told['fingerprint']}"


def _qr(url: str) -> str:
    picture = io.StringIO()
    segno.make(url).terminal(picture, compact=True)
    return picture.getvalue()
