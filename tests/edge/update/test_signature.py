"""Who signed a package, and that nothing else passes for it."""

import pytest

from edge.update.signature import SUFFIX, KeyUnreadable, SignatureRefused, make_key, sign, verify


@pytest.fixture
def signed(tmp_path):
    """A package with its signature, and the folder of trusted keys."""
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    make_key(tmp_path / "maker", trusted / "maker.pem")
    make_key(tmp_path / "stranger", tmp_path / "stranger.pem")
    package = tmp_path / "sonosweep.deb"
    package.write_bytes(bytes(range(256)) * 8192)
    sign(package, tmp_path / "maker")
    return package, trusted


def test_the_makers_signature_is_found_among_the_trusted_keys(signed, tmp_path):
    package, trusted = signed
    (trusted / "another.pem").write_bytes((tmp_path / "stranger.pem").read_bytes())
    assert verify(package, trusted).name == "maker.pem"


@pytest.mark.parametrize("place", [0, 1 << 20, -1])
def test_one_changed_byte_is_refused(signed, place):
    package, trusted = signed
    data = bytearray(package.read_bytes())
    data[place] ^= 1
    package.write_bytes(data)
    with pytest.raises(SignatureRefused, match="none of maker"):
        verify(package, trusted)


def test_a_strangers_signature_is_refused(signed, tmp_path):
    package, trusted = signed
    sign(package, tmp_path / "stranger")
    with pytest.raises(SignatureRefused):
        verify(package, trusted)


def test_an_unsigned_package_and_a_device_without_keys_are_named(signed, tmp_path):
    package, trusted = signed
    with pytest.raises(KeyUnreadable, match="holds no key"):
        verify(package, tmp_path / "nowhere")
    package.with_name(package.name + SUFFIX).unlink()
    with pytest.raises(SignatureRefused, match="sig file beside it"):
        verify(package, trusted)


def test_a_key_is_never_replaced_and_is_for_its_owner_alone(signed, tmp_path):
    assert (tmp_path / "maker").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "maker", tmp_path / "maker.pem")


def test_what_is_no_key_is_named(signed, tmp_path):
    package, trusted = signed
    (trusted / "broken.pem").write_text("no key\n")
    with pytest.raises(KeyUnreadable, match=r"broken\.pem"):
        verify(package, trusted)
    with pytest.raises(KeyUnreadable):
        sign(package, tmp_path / "missing")
