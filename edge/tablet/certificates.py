"""TLS without the internet: the device is its own certificate authority, which a tablet is taught to trust once.

The authority may only speak for this device's .local name and for private networks, so trusting it gives away nothing else. Its key never
leaves the device. Certificates begin in the past (the authority's a year, the leaf's a month, of the 13 that it may have): the device's
clock may be wrong, and a tablet refuses what begins tomorrow.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.atomic import make_folder, replacing
from edge.console import say
from edge.tablet.interfaces import Address, of_interfaces

AUTHORITY_LIFE = datetime.timedelta(days=3652)
LEAF_LIFE = datetime.timedelta(days=396)  # iPadOS takes 397 at most
BEGUN, LEAF_BEGUN = datetime.timedelta(days=366), datetime.timedelta(days=31)
RENEW = datetime.timedelta(days=30)
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "fe80::/10", "fc00::/7", "::1/128")


class Authority:
    """The device's, in ``folder``; made at the first start."""

    def __init__(self, folder: Path, name: str) -> None:
        make_folder(folder)
        if folder.stat().st_mode & 0o7777 != 0o700:  # on a disk that has become read-only the page still comes up, and says so
            folder.chmod(0o700)
        self._folder, self._name, self._leaf = folder, name, folder / "leaf.pem"
        self._contexts: list[ssl.SSLContext] = []
        self._shown = b""  # the leaf of now with its key, PEM: what a full disk does not take is shown all the same
        if not (folder / "ca.pem").exists():
            self._make()
        self.certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())

    @property
    def der(self) -> bytes:
        """As a tablet installs it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> str:
        """SHA-256, to be compared with the device's screen."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":", 2).upper()

    def context(self) -> ssl.SSLContext:
        """For the server; the leaf is made or renewed where it must be, and again by :meth:`renew`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._contexts.append(context)
        self.renew()
        _load(context, self._shown)
        return context

    def renew(self) -> None:
        """A new leaf where the device has other addresses by now, or the old one is near its end; handshakes from now on show it."""
        if not self._shown and self._leaf.exists():
            self._shown = self._leaf.read_bytes()
        if self._shown and not self._stale(x509.load_pem_x509_certificate(self._shown)):
            return
        self._shown = self._new_leaf()
        for context in self._contexts:
            _load(context, self._shown)
        try:
            _write(self._leaf, self._shown)
        except OSError as wrong:
            say(f"tablet: the certificate for the device's new name or address is not kept over a restart: {wrong}; free some space")

    def _stale(self, leaf: x509.Certificate) -> bool:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ours = set(host_names(self._name)) <= set(names.get_values_for_type(x509.DNSName))
        here = set(addresses()) <= set(names.get_values_for_type(x509.IPAddress))
        left = leaf.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
        return not (ours and here) or not RENEW < left <= LEAF_LIFE or leaf.issuer != self.certificate.subject

    def _make(self) -> None:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self._name} {os.urandom(4).hex()}")])
        allowed: list[x509.GeneralName] = [x509.DNSName(name) for name in host_names(self._name)]
        allowed += [x509.IPAddress(ipaddress.ip_network(network)) for network in PRIVATE]
        builder = x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now - BEGUN, now + AUTHORITY_LIFE
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(x509.NameConstraints(allowed, None), critical=True)
        builder = builder.add_extension(_usage(sign=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        _write(self._folder / "ca.key", _pem(key))
        _write(self._folder / "ca.pem", builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _new_leaf(self) -> bytes:
        signer = serialization.load_pem_private_key((self._folder / "ca.key").read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in host_names(self._name)]
        names += [x509.IPAddress(address) for address in addresses()]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self._name}.local")])
        begins = now - LEAF_BEGUN
        builder = x509.CertificateBuilder(
            self.certificate.subject, subject, key.public_key(), x509.random_serial_number(), begins, begins + LEAF_LIFE
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(_usage(sign=False), critical=True)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(authority, critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + _pem(key)


def host_names(name: str) -> list[str]:
    """Under which tablets may call the device."""
    return [f"{name}.local", name, "localhost"]


def addresses() -> list[Address]:
    """The device's own private addresses: of every interface (IPv4), and of its name."""
    found: set[Address] = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    with contextlib.suppress(OSError):  # a machine without a name has its addresses all the same
        found |= {ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    found.update(of_interfaces().values())
    networks = [ipaddress.ip_network(network) for network in PRIVATE]  # what the authority may speak for: fewer than `is_private`
    return sorted((address for address in found if any(address in network for network in networks)), key=str)


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _load(context: ssl.SSLContext, chain: bytes) -> None:
    """From memory: ``ssl`` knows files only."""
    descriptor = os.memfd_create("leaf")
    try:
        os.write(descriptor, chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as out:
        os.fchmod(out.fileno(), 0o600)
        out.write(data)


def hosts(name: str) -> set[str]:
    """What may stand in a request's Host: the device's names and addresses of now."""
    return {one.lower() for one in host_names(name)} | {bracketed(address) for address in addresses()}


def bracketed(address: Address) -> str:
    """As it stands in a URL."""
    return f"[{address}]" if address.version == 6 else str(address)
