"""sonosweep on the device: frames in, motion, a volume, messages out. The names below are the Python interface.

They are loaded when they are first asked for: a service pays only for what it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.compounding import VolumeSettings, open_compounder
    from edge.errors import SonosweepError
    from edge.files import open_sweep, write_sweep
    from edge.files.volumes import Volume, read_volume, write_volume
    from edge.messages import Frame, Geometry
    from edge.motion import open_motion
    from edge.reconstructor import Reconstructor
    from edge.transform import Transform

_HOMES = {
    "open_sweep": "edge.files",
    "open_motion": "edge.motion",
    "open_compounder": "edge.compounding",
    "VolumeSettings": "edge.compounding",
    "Reconstructor": "edge.reconstructor",
    "Volume": "edge.files.volumes",
    "write_volume": "edge.files.volumes",
    "read_volume": "edge.files.volumes",
    "write_sweep": "edge.files",
    "Frame": "edge.messages",
    "Geometry": "edge.messages",
    "Transform": "edge.transform",
    "SonosweepError": "edge.errors",
}
__all__ = [
    "open_sweep",
    "open_motion",
    "open_compounder",
    "VolumeSettings",
    "Reconstructor",
    "Volume",
    "write_volume",
    "read_volume",
    "write_sweep",
    "Frame",
    "Geometry",
    "Transform",
    "SonosweepError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edge' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
