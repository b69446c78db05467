"""What an OEM makes of the page: the product's name, its logo, and presets of its own. Read once, refused by name where it is wrong."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edge.config import ConfigError, DeviceConfig, toml
from edge.tablet.presets import LANGUAGES, PRESETS

LOGOS = {".svg": "image/svg+xml", ".png": "image/png"}
LARGEST_LOGO = 64 << 10  # it travels in the first message to each tablet


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an exam can begin with: one TOML file. ``words`` by language; English at least."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,40}\Z")]
    words: dict[Literal["en", "fr", "es"], str]
    body_part: str = ""
    side: Literal["left", "right", ""] = ""
    direction: Literal["+", "-", ""] = ""
    view: Literal["mip", "alpha"] = "mip"


def read_branding(config: DeviceConfig) -> dict[str, Any]:
    """``product``, ``logo`` (a data URI, or nothing) and ``presets``, as the page is told. ``ConfigError``."""
    presets = _presets(Path(config.presets)) if config.presets else PRESETS
    return {"product": config.product, "logo": _logo(Path(config.logo)) if config.logo else "", "presets": presets}


def _logo(path: Path) -> str:
    kind = LOGOS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"device.logo {path}: is none of {', '.join(LOGOS)}")
    try:
        data = path.read_bytes()
    except OSError as wrong:
        raise ConfigError(f"device.logo {path}: {wrong.strerror}; name a file, or none") from wrong
    if len(data) > LARGEST_LOGO:
        raise ConfigError(f"device.logo {path}: has {len(data)} bytes, more than {LARGEST_LOGO}; make it smaller")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _presets(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            preset = msgspec.convert(toml(path.read_text(), str(path)), Preset)
        except (OSError, UnicodeDecodeError, msgspec.ValidationError) as wrong:
            raise ConfigError(f"{path}: is no preset: {wrong}; docs/configuration.md shows one") from wrong
        if LANGUAGES[0] not in preset.words:
            raise ConfigError(f"{path}: words.{LANGUAGES[0]} is missing: what the page shows in a language that has no words here")
        found.append(msgspec.to_builtins(preset))
    if not found:
        raise ConfigError(f"device.presets {folder}: holds no preset (*.toml); name another folder, or none")
    return found
