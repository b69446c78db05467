"""Drop-ins, where a value comes from, and what the documentation says of every key."""

import json
from pathlib import Path

import pytest

from edge.app import main
from edge.config import Config, ConfigError, Layered, Section, layers, load, parse, read_layers, sections
from edge.config_text import as_text, describe, keys

ROOT = Path(__file__).parents[2]


@pytest.fixture
def device(tmp_path):
    """A configuration with two drop-ins."""
    main_file, drop_ins = tmp_path / "edge.toml", tmp_path / "edge.d"
    drop_ins.mkdir()
    main_file.write_text('run_dir = "/run/a"\n[volume]\nspacing_mm = 0.4\nfill_holes = true\n')
    (drop_ins / "50-product.toml").write_text('[volume]\nspacing_mm = 0.3\n[motion]\ndirection = "-"\n')
    (drop_ins / "90-site.toml").write_text("[volume]\nspacing_mm = 0.2\n")
    (drop_ins / "95-notes.txt").write_text("not a configuration")
    return main_file


def test_the_last_file_that_names_a_key_wins_and_tables_are_merged(device):
    config = load(device)
    assert (config.volume.spacing_mm, config.volume.fill_holes, config.motion.direction, config.run_dir) == (0.2, True, "-", "/run/a")


def test_the_order_is_that_of_the_names(device):
    (device.parent / "edge.d" / "60-later.toml").write_text("[volume]\nspacing_mm = 0.7\n")
    assert [path.name for path in layers(device)] == ["edge.toml", "50-product.toml", "60-later.toml", "90-site.toml"]
    assert load(device).volume.spacing_mm == 0.2


def test_each_value_says_which_file_it_comes_from(device):
    said = {row["key"]: row["from"].rpartition("/")[2] for row in keys(read_layers(layers(device)))}
    assert said["volume.spacing_mm"] == "90-site.toml" and said["motion.direction"] == "50-product.toml"
    assert said["volume.fill_holes"] == said["run_dir"] == "edge.toml"
    assert said["volume.threads"] == "default"


def test_a_mistake_in_a_drop_in_names_that_file(device):
    (device.parent / "edge.d" / "70-bad.toml").write_text("[volume]\nspacing = 1\n")
    with pytest.raises(ConfigError, match=r"70-bad\.toml: volume\.spacing is not known; did you mean volume\.spacing_mm\?"):
        load(device)


def test_a_key_in_the_wrong_table_is_answered_with_the_right_one():
    with pytest.raises(ConfigError, match=r"bridge\.spacing_mm is not known; did you mean volume\.spacing_mm\?"):
        parse("[bridge]\nspacing_mm = 1", "edge.toml")


def test_without_a_file_drop_ins_count_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.config.DEFAULT_PATH", tmp_path / "edge.toml")
    assert load(None) == Config()
    (tmp_path / "edge.d").mkdir()
    (tmp_path / "edge.d" / "10.toml").write_text("[metrics]\nport = 9100\n")
    assert load(None).metrics.port == 9100


def test_what_is_shown_can_be_read_back(device):
    layered = read_layers(layers(device))
    for documented in (False, True):
        assert parse(as_text(layered, documented=documented), "shown") == layered.config


def test_every_key_has_a_meaning_and_limits():
    for kind in (Config, *sections().values()):
        for name in kind.__struct_fields__:
            if not isinstance(getattr(kind(), name), Section):
                assert len(describe(kind, name)) > 10, f"{kind.__name__}.{name}"


def test_the_page_of_the_documentation_is_what_the_command_says():
    page = (ROOT / "docs" / "configuration.md").read_text()
    shown = page.partition("```toml\n")[2].partition("\n```")[0]
    assert shown == as_text(Layered(Config(), {}), documented=True), "renew it with sonosweep config show --documented"


def test_check_names_every_wrong_file_and_fails(device, tmp_path, capsys):
    assert main(["config", "check", str(device)]) == 0
    capsys.readouterr()
    bad, worse = tmp_path / "bad.toml", tmp_path / "worse.toml"
    bad.write_text("[record]\nfolda = 1\n")
    worse.write_text('[volume]\nspacing_mm = "wide"\n')
    assert main(["config", "check", str(device), str(bad), str(worse), "--json"]) == 1
    told = capsys.readouterr()
    assert len(json.loads(told.out)["wrong"]) == 2 and "record.folder?" in told.err and "worse.toml" in told.err


def test_show_tells_value_and_origin(device, capsys):
    assert main(["config", "show", str(device), "--json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["volume.spacing_mm"] == {"key": "volume.spacing_mm", "value": 0.4, "from": str(device)}
    assert main(["config", "show", str(device)]) == 0
    assert f"spacing_mm = 0.4  # {device}" in capsys.readouterr().out


def test_on_the_device_itself_a_file_that_a_key_names_must_exist(device, capsys, monkeypatch):
    monkeypatch.setattr("edge.config.DEFAULT_PATH", device)
    assert main(["config", "check"]) == 0
    (device.parent / "edge.d" / "99.toml").write_text(f'[motion]\npreset = "{device.parent / "none.json"}"\n')
    assert main(["config", "check"]) == 1
    assert "none.json does not exist" in capsys.readouterr().err
    (device.parent / "edge.d" / "99.toml").write_text(f'[device]\nlogo = "{device}"\n')
    assert main(["config", "check"]) == 1
    assert "is none of .svg, .png" in capsys.readouterr().err
    (device.parent / "edge.d" / "99.toml").write_text(f'[motion]\npreset = "{device.parent / "none.json"}"\n')
    assert main(["config", "check", *map(str, layers(device))]) == 0, "elsewhere it cannot be known"
