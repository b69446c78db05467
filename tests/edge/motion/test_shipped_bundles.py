"""The bundles that come with the package: found by name from anywhere, whole, small enough, and what nobody ships is refused."""

from __future__ import annotations

import pytest

from edge.config import MotionConfig
from edge.motion import MotionUnavailable, open_motion
from edge.motion.bundle import UnknownBundle, find_bundle, open_bundle, shipped_bundles

SMALL_MB = 12


def test_the_default_network_comes_with_the_package():
    source = open_motion(MotionConfig())
    assert (source.name, source.relative) == ("network: small", True)
    assert open_motion(MotionConfig(source="recorded")).name == "recorded"


@pytest.mark.parametrize("name", shipped_bundles())
def test_every_shipped_bundle_is_found_by_its_name_and_is_what_its_card_says(name):
    assert open_bundle(find_bundle(name)).path == shipped_bundles()[name]


def test_the_default_bundle_stays_small():
    assert find_bundle("small").stat().st_size <= SMALL_MB * 10**6


def test_a_shipped_name_means_the_shipped_bundle_whatever_lies_here(tmp_path, monkeypatch):
    (tmp_path / "small").mkdir()
    (tmp_path / "mine.zip").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert find_bundle("small") == shipped_bundles()["small"]
    assert find_bundle("./small").resolve() == tmp_path / "small"
    assert find_bundle("mine.zip").resolve() == tmp_path / "mine.zip"


@pytest.mark.parametrize("name", ["smal", "", "nowhere/small.zip", "../bundles/small"])
def test_a_name_that_is_no_bundle_is_refused_with_those_that_are(name):
    with pytest.raises(UnknownBundle, match=rf"{name!r} is neither a file nor .* one of .*\bsmall\b"):
        find_bundle(name)
    assert issubclass(UnknownBundle, MotionUnavailable)
