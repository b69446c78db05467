"""The device's own authority: a real handshake, and what it may not do."""

import datetime
import os
import socket
import ssl
import threading

import pytest
from cryptography import x509

from edge.tablet.certificates import Authority, addresses, host_names


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "sonosweep")


def shake(server, trust, name):
    """A TLS handshake over a socket pair; answers the protocol."""
    client = ssl.create_default_context(cadata=trust)
    ours, theirs = socket.socketpair()

    def serve():
        try:
            server.wrap_socket(ours, server_side=True).close()
        except (ssl.SSLError, OSError):
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=name) as shaken:
            return shaken.version()
    finally:
        theirs.close()
        thread.join()


@pytest.mark.parametrize("name", ["sonosweep.local", "localhost", "127.0.0.1"])
def test_a_tablet_that_trusts_the_authority_trusts_the_device(authority, name):
    assert shake(authority.context(), authority.der, name) in ("TLSv1.2", "TLSv1.3")


def test_another_name_and_another_authority_are_refused(authority, tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(authority.context(), authority.der, "example.org")
    other = Authority(tmp_path / "other", "sonosweep")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(authority.context(), other.der, "localhost")


def test_the_authority_may_speak_for_its_own_name_and_private_networks_only(authority):
    allowed = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert allowed.critical
    names = [name.value for name in allowed.value.permitted_subtrees if isinstance(name, x509.DNSName)]
    networks = [name.value for name in allowed.value.permitted_subtrees if isinstance(name, x509.IPAddress)]
    assert names == host_names("sonosweep") and all(network.is_private for network in networks)


def test_the_leaf_is_short_enough_for_ipados_and_begins_in_the_past(authority, tmp_path):
    authority.context()
    leaf = x509.load_pem_x509_certificate((tmp_path / "leaf.pem").read_bytes())
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= datetime.timedelta(days=397)
    assert datetime.datetime.now(datetime.timezone.utc) - leaf.not_valid_before_utc > datetime.timedelta(days=20)


def test_keys_are_the_devices_alone_and_the_authority_stays(authority, tmp_path):
    authority.context()
    assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.glob("*.*")} == {"ca.key": 0, "ca.pem": 0, "leaf.pem": 0}
    again = Authority(tmp_path, "sonosweep")
    before = (tmp_path / "leaf.pem").read_bytes()
    again.context()
    assert again.fingerprint == authority.fingerprint and (tmp_path / "leaf.pem").read_bytes() == before


def test_a_new_name_or_address_gets_a_new_leaf(authority, tmp_path, monkeypatch):
    authority.context()
    before = (tmp_path / "leaf.pem").read_bytes()
    here = addresses()
    monkeypatch.setattr("edge.tablet.certificates.addresses", lambda: [*here, type(here[0])("192.168.77.1")])
    authority.context()
    assert (tmp_path / "leaf.pem").read_bytes() != before


def test_a_server_that_runs_answers_for_an_address_that_came_later(authority, monkeypatch):
    server, here = authority.context(), addresses()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, authority.der, "192.168.77.1")
    monkeypatch.setattr("edge.tablet.certificates.addresses", lambda: [*here, type(here[0])("192.168.77.1")])
    authority.renew()
    assert shake(server, authority.der, "192.168.77.1") in ("TLSv1.2", "TLSv1.3")


def test_only_private_addresses_are_told():
    found = addresses()
    assert found and all(address.is_private for address in found)


def test_the_authority_opens_in_a_folder_that_takes_no_change(authority, tmp_path, monkeypatch):
    def refuse(path, mode, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "chmod", refuse)
    assert Authority(tmp_path, "sonosweep").fingerprint == authority.fingerprint


def test_on_a_full_disk_a_new_address_gets_its_certificate_all_the_same(authority, tmp_path, monkeypatch, capsys):
    server, here = authority.context(), addresses()
    kept = (tmp_path / "leaf.pem").read_bytes()
    monkeypatch.setattr("edge.tablet.certificates.addresses", lambda: [*here, type(here[0])("192.168.77.1")])

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.tablet.certificates.replacing", full)
    authority.renew()
    assert shake(server, authority.der, "192.168.77.1") in ("TLSv1.2", "TLSv1.3")
    assert "is not kept" in capsys.readouterr().err and (tmp_path / "leaf.pem").read_bytes() == kept
    shown = authority._shown
    authority.renew()
    assert authority._shown == shown and capsys.readouterr().err == "", "said and made once, not every five seconds"
    again = Authority(tmp_path, "sonosweep")
    assert shake(again.context(), authority.der, "192.168.77.1") in ("TLSv1.2", "TLSv1.3"), "the gateway starts"
