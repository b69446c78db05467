"""The short fuzz; the long one is `make fuzz`."""

from __future__ import annotations

from fuzz_wire import corpus, fuzz, fuzz_bridge

from firmware_bridge.wire import decode_frame


def test_the_corpus_is_valid() -> None:
    for parts in corpus():
        decode_frame(parts)


def test_every_mutant_is_refused_by_name_or_accepted_as_valid() -> None:
    outcomes = fuzz(3000, seed=20)["outcomes"]
    expected = {"BadParts", "BadMagic", "UnsupportedVersion", "BadSize", "BadCrc", "BadField", "BadPose", "BadExtension", "accepted"}
    assert set(outcomes) == expected
    assert outcomes["accepted"] > 100


def test_the_bridge_survives_the_same_messages() -> None:
    counts = fuzz_bridge(400, seed=21)
    assert counts["received"] > 10 and counts["malformed"] > 100
