"""STOW-RS: objects to a PACS over http(s), one a request. What the server says of each decides, not the status alone."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge.config import ConfigError, DicomConfig
from edge.dicom.errors import Unreachable
from edge.dicom.queue import Entry
from edge.dicom.sender import DUPLICATE, GONE, HELD, Outcome

BOUNDARY = "sonosweep-7d1f3c5e9b"
LARGEST_ANSWER = 4 << 20
REFERENCED, FAILED, UID, REASON = "00081199", "00081198", "00081155", "00081197"
CONFLICT = 409
HUNG_UP = BrokenPipeError, ConnectionResetError, ssl.SSLEOFError
REFUSED_FOR_GOOD = (400, CONFLICT, 413, 415)  # it is about the object; all else is about the server, and may pass


class StowRs:
    """A :class:`edge.dicom.sender.Transport`. STOW-RS knows no commitment: stored is the end."""

    def __init__(self, config: DicomConfig) -> None:
        self._config, self._url = config, urlsplit(config.stow_url.rstrip("/") + "/studies")
        try:
            usable = self._url.scheme in ("http", "https") and bool(self._url.hostname) and self._url.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigError(f"dicom.stow_url is {config.stow_url!r:.80}; write the DICOMweb root, such as https://pacs/dicom-web")
        try:
            self._tls = ssl.create_default_context(cafile=config.tls_ca or None)
            if config.tls_certificate:
                self._tls.load_cert_chain(config.tls_certificate, config.tls_key or None)
            self._token = Path(config.stow_token).read_text().strip() if config.stow_token else ""
        except (OSError, ssl.SSLError) as wrong:
            raise ConfigError(f"dicom.tls_ca, tls_certificate, tls_key or stow_token cannot be used: {wrong}") from wrong

    def store(self, objects: list[tuple[Entry, Path]]) -> Iterator[tuple[Entry, Outcome]]:
        """See :class:`Transport`."""
        for entry, path in objects:
            try:
                length = path.stat().st_size
            except FileNotFoundError:
                yield entry, GONE
                continue
            yield entry, self._send(entry, path, length)

    def ask_commitment(self, transaction: str, entries: list[Entry]) -> None:
        """Never asked."""

    def _send(self, entry: Entry, path: Path, length: int) -> Outcome:
        head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
            "Content-Length": str(len(head) + length + len(tail)),
            "Accept": "application/dicom+json",
        } | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        connection = self._connected()
        try:
            with contextlib.suppress(*HUNG_UP):  # it may answer and close before it has read all
                connection.request("POST", self._url.path, body=_body(head, path, tail), headers=headers)
            with connection.getresponse() as answer:  # follows no redirect: the token is for this server alone
                outcome = read_answer(entry.uid, answer.status, answer.read(LARGEST_ANSWER))
            if answer.status == CONFLICT and outcome.kind == "refused" and entry.attempts:
                return outcome._replace(words=f"{outcome.words}; it may have it from an attempt before: look there, then drop it")
            return outcome
        except FileNotFoundError:
            return GONE
        except (OSError, HTTPException) as wrong:
            return Outcome("broke", f"{self._url.geturl()}: the connection broke while this object was sent ({wrong})")
        finally:
            connection.close()

    def _connected(self) -> HTTPConnection:
        server = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            made: HTTPConnection = HTTPSConnection(*server, timeout=self._config.timeout_s, context=self._tls)
        else:
            made = HTTPConnection(*server, timeout=self._config.timeout_s)
        try:
            made.connect()
        except OSError as wrong:  # timeouts and refused certificates are OSErrors
            made.close()
            raise Unreachable(f"{self._url.geturl()}: {wrong}") from wrong
        return made


def read_answer(uid: str, status: int, body: bytes) -> Outcome:
    """What a server's answer means for the object: it is stored only where the server says so of its UID."""
    told = _told(body)
    reason = next((one for one in told.get(FAILED, []) if one.get(UID) in (uid, None)), None)
    if reason is not None and reason.get(REASON) == DUPLICATE:
        return HELD
    if reason is not None:
        return Outcome("refused", f"the PACS refuses it: reason {reason.get(REASON, 'unknown')} (HTTP {status})")
    if 200 <= status < 300 and any(one.get(UID) == uid for one in told.get(REFERENCED, [])):
        return Outcome("stored")
    if status in REFUSED_FOR_GOOD:
        return Outcome("refused", f"the PACS refuses it: HTTP {status} {_words(body)}".strip())
    if 300 <= status < 400:
        return Outcome("later", f"the PACS is elsewhere (HTTP {status}), and objects are not sent after it; correct dicom.stow_url")
    if status in (401, 403):
        return Outcome("later", f"the PACS asks who we are (HTTP {status}); set dicom.stow_token or tls_certificate")
    return Outcome("later", f"the PACS does not say that it has stored it (HTTP {status} {_words(body)})")


def _body(*parts: bytes | Path) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        with part.open("rb") as file:
            while piece := file.read(1 << 18):
                yield piece


def _told(body: bytes) -> dict[str, list[dict[str, Any]]]:
    """Sequences of the answer as lists of first values; empty for anything that is none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    answer = answer[0] if isinstance(answer, list) and answer else answer
    found: dict[str, list[dict[str, Any]]] = {}
    for tag in (REFERENCED, FAILED):
        element = answer.get(tag) if isinstance(answer, dict) else None
        items = element.get("Value") if isinstance(element, dict) else None
        found[tag] = [_firsts(item) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return found


def _firsts(item: dict[str, Any]) -> dict[str, Any]:
    first = {}
    for tag, element in item.items():
        values = element.get("Value") if isinstance(element, dict) else None
        if isinstance(values, list) and values:
            first[tag] = values[0]
    return first


def _words(body: bytes) -> str:
    return "".join(c if c.isprintable() else " " for c in body[:120].decode("utf-8", "replace")).strip()
