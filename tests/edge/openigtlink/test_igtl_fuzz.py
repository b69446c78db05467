"""The short fuzz; the long one is `make fuzz`."""

from fuzz_igtl import check, corpus, fuzz


def test_the_corpus_is_valid():
    assert [check(data) for data in corpus()] == ["read"] * len(corpus())


def test_every_mutant_is_refused_by_name_or_read():
    outcomes = fuzz(3000, seed=20)["outcomes"]
    assert set(outcomes) == {"BadHead", "TooLarge", "BadCrc", "BadBody", "NotHandled", "read"} and outcomes["read"] > 100
