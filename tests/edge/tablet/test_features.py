"""What a maker has switched off is refused by name, file and command, and the page leaves it out."""

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.app import main
from edge.config import Config, FeaturesConfig, RecordConfig, TabletConfig
from edge.local_device import as_toml
from edge.tablet.commands import COMMANDS, obey
from edge.tablet.doors import Doors
from edge.tablet.features import OF_COMMANDS, refuse_command_if_off
from edge.tablet.gateway import TabletService
from edge.tablet.refusals import Refused
from edge.tablet.wire import Request

PAGE = Path(__file__).parents[3] / "edge" / "tablet" / "page"
NAMES = set(FeaturesConfig.__struct_fields__)
SHOWN = NAMES - {"openigtlink"}  # a server of its own


def off(name):
    return FeaturesConfig(**{name: False})


def test_every_switch_switches_something_and_every_command_in_the_table_is_one():
    assert OF_COMMANDS.keys() <= COMMANDS.keys() and set(OF_COMMANDS.values()) | {"dicom", "oxygen"} == SHOWN


@pytest.mark.parametrize(("action", "name"), OF_COMMANDS.items())
def test_a_command_that_is_off_is_refused_before_anything_is_done(action, name):
    notes = []
    client = SimpleNamespace(name="iPad 1", allowance=SimpleNamespace(take=lambda: True))
    gateway = SimpleNamespace(
        features=off(name), lease=SimpleNamespace(holder=client), note=lambda *told: notes.append(told)
    )  # has nothing to do it with
    told = asyncio.run(obey(gateway, client, Request(1, action, sweep="s")))
    assert (told["ok"], told["error"], told["detail"]) == (False, "SWITCHED_OFF", f"[features] {name}")
    assert notes == [(action, "iPad 1", "s SWITCHED_OFF")]


def test_nothing_else_is_refused():
    for action in COMMANDS:
        refuse_command_if_off(FeaturesConfig(), Request(1, action, formats=("dcm",)))
        refuse_command_if_off(FeaturesConfig(openigtlink=False), Request(1, action, formats=("dcm",)))
    refuse_command_if_off(off("dicom"), Request(1, "export", formats=("mha",)))
    with pytest.raises(Refused, match="dicom"):
        refuse_command_if_off(off("dicom"), Request(1, "export", formats=("mha", "dcm")))


@pytest.mark.parametrize("name", ["_serve_file", "_take_picture"])
def test_no_file_leaves_or_comes_where_export_is_off(tmp_path, name):
    tablet = TabletConfig(address="127.0.0.1", secure=False, folder=str(tmp_path / "tablet"))
    config = Config(record=RecordConfig(folder=str(tmp_path / "sweeps")), tablet=tablet, features=off("export"))
    service = TabletService(config, None, Doors(tablet, 8443))
    with pytest.raises(Refused, match="export"):
        asyncio.run(getattr(service._shelf, name)(None))
    assert service._hello(SimpleNamespace(role="viewer"))["features"] == dict.fromkeys(NAMES, True) | {"export": False}


def test_the_page_has_a_place_and_a_rule_for_each():
    scripts = "\n".join(path.read_text() for path in PAGE.glob("js/**/*.js"))
    rules = (PAGE / "style.css").read_text()
    for name in SHOWN:
        assert re.search(rf"of-{name}'", scripts) and f"[data-off~='{name}'] .of-{name}" in rules
    assert set(re.findall(r"of-([a-z]+)'", scripts)) == SHOWN


def test_openigtlink_that_is_off_does_not_start(tmp_path, capsys):
    file = tmp_path / "edge.toml"
    file.write_text(as_toml(Config(run_dir=str(tmp_path), features=off("openigtlink"))))
    assert main(["igtl", "serve", "--config", str(file)]) == 1
    assert "[features] openigtlink = false" in capsys.readouterr().err
