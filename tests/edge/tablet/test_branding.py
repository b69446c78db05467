"""An OEM's name, logo and presets reach the page; what is wrong with them is refused by name."""

import base64
import re
from pathlib import Path

import pytest

from edge.config import Config, ConfigError, DeviceConfig, RecordConfig, TabletConfig
from edge.tablet.branding import LARGEST_LOGO, read_branding
from edge.tablet.doors import Doors
from edge.tablet.gateway import TabletService
from edge.tablet.presets import PRESETS

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_without_a_brand_nothing_is_changed():
    assert read_branding(DeviceConfig()) == {"product": "", "logo": "", "presets": PRESETS}


def test_a_brand_is_in_the_first_message_to_a_tablet(tmp_path):
    (tmp_path / "logo.svg").write_text("<svg/>")
    (tmp_path / "presets").mkdir()
    for number, name in ((2, "wrist"), (1, "knee")):
        (tmp_path / "presets" / f"{number}.toml").write_text(f'name = "{name}"\nside = "left"\nwords = {{ en = "The {name}" }}\n')
    device = DeviceConfig(product="Sonar One", logo=str(tmp_path / "logo.svg"), presets=str(tmp_path / "presets"))
    tablet = TabletConfig(secure=False, folder=str(tmp_path / "tablet"))
    config = Config(device=device, record=RecordConfig(folder=str(tmp_path / "sweeps")), tablet=tablet)
    hello = TabletService(config, None, Doors(tablet, 8443))._hello(type("Client", (), {"role": "viewer"}))
    assert hello["product"] == "Sonar One"
    assert base64.b64decode(hello["logo"].removeprefix("data:image/svg+xml;base64,")) == b"<svg/>"
    assert [preset["name"] for preset in hello["presets"]] == ["knee", "wrist"]
    assert hello["presets"][0] | {"words": {}} == PRESETS[0] | {"name": "knee", "side": "left", "words": {}}
    assert hello["presets"][0]["words"] == {"en": "The knee"}


def test_the_preset_of_the_documentation_is_one(tmp_path):
    shown = re.search(r"presets/10-achilles\.toml`:\n```\n(.+?)\n```", DOCUMENTATION.read_text(), re.S)
    (tmp_path / "10.toml").write_text(shown[1])
    (preset,) = read_branding(DeviceConfig(presets=str(tmp_path)))["presets"]
    assert preset["words"]["es"] == "Tendón de Aquiles" and preset["view"] == "alpha"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\nwords = { en = "A" }\ncolour = 3', "colour"),
        ('name = "A b"\nwords = { en = "A" }', "pattern|match"),
        ('name = "a"\nwords = { fr = "A" }', r"words\.en is missing"),
        ('name = "a"\nwords = { en = "A" }\ndirection = "up"', "direction"),
        ("= =", "is not TOML"),
    ],
)
def test_a_wrong_preset_is_refused_by_file(tmp_path, text, said):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(ConfigError, match=rf"bad\.toml: .*({said})"):
        read_branding(DeviceConfig(presets=str(tmp_path)))


def test_a_folder_without_presets_and_a_logo_that_is_none_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no preset"):
        read_branding(DeviceConfig(presets=str(tmp_path)))
    (tmp_path / "big.png").write_bytes(bytes(LARGEST_LOGO + 1))
    (tmp_path / "logo.gif").write_bytes(b"GIF")
    for name, said in (("none.png", "No such file"), ("big.png", "make it smaller"), ("logo.gif", "is none of")):
        with pytest.raises(ConfigError, match=said):
            read_branding(DeviceConfig(logo=str(tmp_path / name)))
