"""The configuration is strict at the door and names file, key and cure."""

import pytest

from edge.config import Config, ConfigError, load, parse
from edge.local_device import as_toml


def test_an_unknown_key_is_refused_with_the_likely_one():
    with pytest.raises(ConfigError, match=r"^edge.toml: volume.backand is not known; did you mean volume.backend\?$"):
        parse('[volume]\nbackand = "host"', "edge.toml")


def test_an_unknown_section_is_refused():
    with pytest.raises(ConfigError, match="known: run_dir"):
        parse("[zzzz]\nx = 1", "edge.toml")


@pytest.mark.parametrize(
    "text",
    [
        '[volume]\nspacing_mm = "wide"',
        '[motion]\ndirection = "up"',
        "run_dir = 5",
        "= =",
        "[record]\nsync_ms = -5",
        "[volume]\nspacing_mm = -0.3",
        "[volume]\nsilent_after_s = 0",
        "[bridge]\nqueue_frames = 0",
        "[tablet]\nport = 70000",
        '[tablet]\nname = "Sono Sweep"',
        '[tablet]\nname = "sonosweep\\n"',
        '[tablet]\nsecure = "no"',
        "[tablet]\nframes_per_s = 0",
        "[tablet]\nclients = 0",
    ],
)
def test_a_wrong_value_is_refused_by_file_name(text):
    with pytest.raises(ConfigError, match=r"^edge\.toml: "):
        parse(text, "edge.toml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "edge.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "edge.toml")


def test_motion_comes_from_the_shipped_network_unless_it_is_said_otherwise():
    assert (Config().motion.source, Config().motion.model) == ("network", "small")
    assert parse('[motion]\nsource = "recorded"', "edge.toml").motion.source == "recorded"


def test_tablets_are_served_over_tls_unless_it_is_said_otherwise():
    tablet = Config().tablet
    assert (tablet.secure, tablet.address, tablet.port, tablet.name, tablet.clients) == (True, "0.0.0.0", 8443, "sonosweep", 8)
    assert parse("[tablet]\nsecure = false", "edge.toml").tablet.secure is False


def test_what_is_written_for_a_local_device_is_read_back():
    config = parse('run_dir = "/tmp/x"\n[volume]\nspacing_mm = 0.25\nfill_holes = true\n[motion]\ndirection = "-"', "a")
    assert parse(as_toml(config), "b") == config
    assert parse(as_toml(Config()), "c") == Config()
