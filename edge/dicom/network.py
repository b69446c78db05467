"""Associations of DICOM: C-STORE and Storage Commitment, reports back, the worklist. The only file that knows pynetdicom."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityWorklistInformationFind, StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from edge.config import ConfigError, DicomConfig
from edge.dicom.commitment import Report, parse_report, request
from edge.dicom.errors import MalformedDicom, NotConfigured, Unreachable, WorklistRefused
from edge.dicom.identifiers import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from edge.dicom.queue import Entry
from edge.dicom.sender import DUPLICATE, GONE, HELD, Outcome
from edge.files.dicom_errors import MALFORMED

PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
LARGEST_REPORT = 4 << 20  # bytes from one association of the listener, all together
LARGEST_TALK = 32 << 20  # bytes of one that we began: 500 lines of a worklist take less than 1 MiB
SLOWEST_LINE = 10_000  # bytes/s: the answer to an object comes when all of it is there, and a clip is up to 256 MiB
MOST_ASSOCIATIONS = 8
MOST_OBJECTS = 50  # of one association: it offers at most 128 kinds, and each object may need two
MOST_ANSWERS = 500
SUCCESS, PROCESSING_FAILURE = 0x0000, 0x0110
NOT_STORED = {0xA7: "it is out of room", 0xA9: "the object does not fit its class", 0xC0: "it does not understand the object"}
AGAIN = (0x0110, 0x0124, 0x0210, 0x0212)  # processing failure, not authorised now, duplicate message, resources


def open_entity(config: DicomConfig) -> AE:
    """This device, with the configured patience."""
    entity = AE(ae_title=config.aet)
    entity.implementation_class_uid, entity.implementation_version_name = IMPLEMENTATION_UID, IMPLEMENTATION_NAME
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = config.timeout_s
    return entity


@contextmanager
def associated(entity: AE, config: DicomConfig, host: str, port: int, aet: str, handlers: list[Any] | None = None) -> Iterator[Association]:
    """``Unreachable`` with the reason where nobody answers, or not to us."""
    tls = (_tls(config), host) if config.tls_ca else None
    try:  # first a plain connection: pynetdicom does not say why there is none
        socket.create_connection((host, port), config.timeout_s).close()
    except OSError as wrong:
        raise Unreachable(f"{aet} at {host}:{port}: nobody answers there ({wrong.strerror or wrong})") from wrong
    try:
        made = entity.associate(host, port, ae_title=aet, evt_handlers=[*(handlers or []), *_bounded(LARGEST_TALK)], tls_args=tls)
    except (OSError, ValueError) as wrong:
        raise Unreachable(f"{aet} at {host}:{port}: {wrong}") from wrong
    if not made.is_established:
        why = (
            "it refuses us by our title or its own; check dicom.aet and the other's title"
            if made.is_rejected
            else "it does not speak DICOM"
        )
        raise Unreachable(f"{aet} at {host}:{port}: {why}")
    try:
        yield made
    finally:
        if made.is_established:
            made.release()


class Dimse:
    """C-STORE and Storage Commitment: a :class:`edge.dicom.sender.Transport`."""

    def __init__(self, config: DicomConfig, hear: Callable[[Report], None]) -> None:
        if not config.pacs_host:
            raise NotConfigured("no PACS is configured; set dicom.pacs_host (and pacs_port, pacs_aet), or dicom.stow_url")
        self._config, self._hear = config, hear
        _config.STORE_SEND_CHUNKED_DATASET = True  # else a clip of 250 MiB takes 830 MiB of memory

    def store(self, objects: list[tuple[Entry, Path]]) -> Iterator[tuple[Entry, Outcome]]:
        """See :class:`Transport`. A PACS that does not take a compression gets the object uncompressed."""
        config, left = self._config, list(objects)
        while left:
            group = left[:MOST_OBJECTS]
            entity = open_entity(config)
            entity.add_requested_context(Verification)  # so that a PACS that takes none of the others still answers
            for sop_class, syntax in sorted({(entry.sop_class, entry.syntax) for entry, _ in group}):
                entity.add_requested_context(sop_class, syntax)
                entity.add_requested_context(sop_class, [one for one in PLAIN if one != syntax])
            with associated(entity, config, config.pacs_host, config.pacs_port, config.pacs_aet) as pacs:
                taken = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in pacs.accepted_contexts}
                for entry, path in group:
                    if left[0] is not group[0] and not pacs.is_established:
                        break  # it ended between two objects: no object's fault
                    left.pop(0)
                    outcome = self._send(pacs, entry, path, taken)
                    yield entry, outcome
                    if outcome.kind == "broke":
                        break

    def ask_commitment(self, transaction: str, entries: list[Entry]) -> None:
        """See :class:`Transport`. A report on the same association is heard too."""
        config, entity = self._config, open_entity(self._config)
        for service in (StorageCommitmentPushModel, Verification):
            entity.add_requested_context(service)
        handlers = [(evt.EVT_N_EVENT_REPORT, _report_to(self._hear))]
        with associated(entity, config, config.pacs_host, config.pacs_port, config.pacs_aet, handlers) as pacs:
            if not _takes(pacs, StorageCommitmentPushModel):
                raise Unreachable(f"{config.pacs_aet}: does not know Storage Commitment; set dicom.commitment = false")
            asked = request(transaction, [(entry.sop_class, entry.uid) for entry in entries])
            status, _ = pacs.send_n_action(asked, 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
            code = status.get("Status")
            if code != SUCCESS:
                raise Unreachable(f"{config.pacs_aet}: does not take the question for commitment ({_code(code)})")

    def _send(self, pacs: Association, entry: Entry, path: Path, taken: set[tuple[str, str]]) -> Outcome:
        if not any(sop_class == entry.sop_class for sop_class, _ in taken):
            return Outcome("refused", "the PACS does not take objects of this class; ask for it, or send the clip only")
        ds: Dataset | Path = path  # sent piece by piece as it lies there
        if (entry.sop_class, entry.syntax) not in taken:
            try:
                ds = dcmread(path)
                ds.decompress(generate_instance_uid=False)
            except MALFORMED as wrong:
                return Outcome("refused", f"the PACS takes it only uncompressed, and it cannot be decompressed here: {wrong}")
        size = len(ds.PixelData) if isinstance(ds, Dataset) else entry.bytes
        pacs.dimse_timeout = self._config.timeout_s + size / SLOWEST_LINE
        try:
            status = pacs.send_c_store(ds)
        except FileNotFoundError:
            return GONE
        except (ValueError, RuntimeError) as wrong:  # the association is gone, or takes no syntax that fits
            if not pacs.is_established:
                return Outcome("broke", f"{self._config.pacs_aet}: the association ended: {wrong}")
            return Outcome("refused", f"it cannot be sent: {wrong}")
        code = status.get("Status")
        if code is None:
            return Outcome("broke", f"{self._config.pacs_aet}: the connection broke while this object was sent")
        return _outcome(code, str(status.get("ErrorComment", "")))


@contextmanager
def listening(config: DicomConfig, hear: Callable[[Report], None]) -> Iterator[int]:
    """Hear reports of storage commitment (and C-ECHO) while this is open; answers the port. ``Unreachable`` where it is taken."""
    entity = open_entity(config)
    entity.maximum_associations = MOST_ASSOCIATIONS
    entity.add_supported_context(Verification)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, _report_to(hear)), *_bounded(LARGEST_REPORT)]
    try:
        server = entity.start_server((config.address, config.port), block=False, evt_handlers=handlers, ssl_context=_server_tls(config))
    except OSError as wrong:
        raise Unreachable(f"port {config.port} of {config.address} cannot be listened on: {wrong.strerror}; set dicom.port") from wrong
    try:
        yield int(server.server_address[1]) if server else 0
    finally:
        entity.shutdown()


def find_worklist(config: DicomConfig, query: Dataset, cut: Callable[[], None]) -> list[Dataset | None]:
    """What the worklist answers; None for what is no DICOM. ``cut`` is called where it had more to say than ``MOST_ANSWERS``.

    ``Unreachable``, ``WorklistRefused``, ``NotConfigured``.
    """
    if not config.worklist_host:
        raise NotConfigured("no worklist is configured; set dicom.worklist_host (and worklist_port, worklist_aet)")
    entity = open_entity(config)
    found: list[Dataset | None] = []
    for service in (ModalityWorklistInformationFind, Verification):
        entity.add_requested_context(service)
    with associated(entity, config, config.worklist_host, config.worklist_port, config.worklist_aet) as server:
        if not _takes(server, ModalityWorklistInformationFind):
            raise WorklistRefused(
                f"{config.worklist_aet} at {config.worklist_host}: is no worklist; check dicom.worklist_host and worklist_port"
            )
        for status, identifier in server.send_c_find(query, ModalityWorklistInformationFind):
            code = status.get("Status")
            if code is None:
                raise Unreachable(f"{config.worklist_aet}: the network went while it answered, or what it answered is no DICOM")
            if code in (0xFF00, 0xFF01):
                if len(found) == MOST_ANSWERS:
                    cut()
                    server.abort()
                    break
                found.append(identifier)
            elif code != SUCCESS:
                raise WorklistRefused(
                    f"{config.worklist_aet}: refuses the query ({_code(code)} {str(status.get('ErrorComment', ''))[:100]})"
                )
    return found


def _takes(peer: Association, sop_class: str) -> bool:
    return any(context.abstract_syntax == sop_class for context in peer.accepted_contexts)


def _bounded(most_bytes: int) -> list[Any]:
    """Handlers that end an association which has sent more than that: pynetdicom itself would take any amount into memory."""
    received: dict[int, int] = {}

    def count(event: Any) -> None:
        at = id(event.assoc)
        received[at] = received.get(at, 0) + len(event.data)
        if received[at] > most_bytes:
            event.assoc.abort()

    def forget(event: Any) -> None:
        received.pop(id(event.assoc), None)

    return [(evt.EVT_DATA_RECV, count), (evt.EVT_CONN_CLOSE, forget)]


def _report_to(hear: Callable[[Report], None]) -> Callable[[Any], tuple[int, None]]:
    def handle(event: Any) -> tuple[int, None]:
        try:
            hear(parse_report(event.event_information))
        except (MalformedDicom, *MALFORMED):
            return PROCESSING_FAILURE, None
        return SUCCESS, None

    return handle


def _outcome(code: int, comment: str) -> Outcome:
    if code == DUPLICATE:
        return HELD
    words = f"{_code(code)} {comment}".strip()
    if code == SUCCESS or code >> 12 == 0xB:  # a warning: stored, but for something
        return Outcome("stored", "" if code == SUCCESS else f"stored with a warning: {words}")
    kind = code >> 8 if code >> 12 != 0xC else 0xC0
    if code in AGAIN or kind == 0xA7:
        return Outcome("later", f"not now: {words}{' (it is out of room)' if kind == 0xA7 else ''}")
    return Outcome("refused", f"the PACS refuses it: {words}{f' ({NOT_STORED[kind]})' if kind in NOT_STORED else ''}")


def _code(code: object) -> str:
    return f"status 0x{code:04X}" if isinstance(code, int) else "no status"


def _tls(config: DicomConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=config.tls_ca)
        if config.tls_certificate:
            context.load_cert_chain(config.tls_certificate, config.tls_key or None)
    except (OSError, ssl.SSLError) as wrong:
        raise ConfigError(f"dicom.tls_ca, tls_certificate or tls_key cannot be used: {wrong}") from wrong
    return context


def _server_tls(config: DicomConfig) -> ssl.SSLContext | None:
    if not config.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=config.tls_ca or None)
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key or None)
    except (OSError, ssl.SSLError) as wrong:
        raise ConfigError(f"dicom.tls_certificate or tls_key cannot be used: {wrong}") from wrong
    return context
