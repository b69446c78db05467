"""What a maker has switched off: the commands and files that the gateway refuses then, by name."""

from __future__ import annotations

from edge.config import FeaturesConfig
from edge.tablet.refusals import Refused
from edge.tablet.wire import Request

OF_COMMANDS = {"export": "export", "discard": "deletion", "purge": "deletion", "measures": "measurement"}


def refuse_if_off(features: FeaturesConfig, name: str) -> None:
    """``Refused`` where the feature ``name`` is off."""
    if not getattr(features, name):
        raise Refused("SWITCHED_OFF", f"[features] {name}")


def refuse_command_if_off(features: FeaturesConfig, request: Request) -> None:
    """``Refused`` where what is asked for belongs to a feature that is off."""
    if name := OF_COMMANDS.get(request.action):
        refuse_if_off(features, name)
    if request.action == "export" and "dcm" in request.formats:
        refuse_if_off(features, "dicom")
