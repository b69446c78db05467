"""sonosweep on the device: frames in, motion, a volume, messages out. The names below are the Python interface."""

from edge.compounding import VolumeSettings, open_compounder
from edge.errors import SonosweepError
from edge.files import open_sweep, write_sweep
from edge.files.volumes import Volume, read_volume, write_volume
from edge.messages import Frame, Geometry
from edge.motion import open_motion
from edge.reconstructor import Reconstructor
from edge.transform import Transform

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
