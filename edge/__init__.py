"""sonosweep on the device: frames in, motion, a volume, messages out. The names below are the Python interface.

They are loaded when they are first asked for: a service pays only for what it uses. What follows is run by a test.

>>> import numpy as np
>>> from pathlib import Path
>>> import edge

``Geometry`` says how samples lie in the image plane; it is part of every frame. Lengths are mm, angles degrees.

>>> geometry = edge.Geometry(width=64, height=48, spacing_mm=(0.25, 0.25))
>>> geometry.check()

``Transform`` maps one coordinate system to another and is named as in PLUS; only what meets can be multiplied.

>>> def pose(number: int) -> edge.Transform:
...     return edge.Transform("Image", "Reference", [[0.25, 0, 0, 0], [0, 0.25, 0, 0], [0, 0, 0.25, 0.4 * number], [0, 0, 0, 1]])
>>> pose(3).name, pose(3).apply([4, 8, 0])
('ImageToReference', array([1. , 2. , 1.2]))

``Frame`` is one image as a probe sent it, here with the pose of a tracker: a bright ball of 4 mm radius about (8, 6, 6) mm.

>>> def frame(number: int) -> edge.Frame:
...     rows, columns = np.mgrid[:48, :64]
...     off_mm = pose(number).apply(np.stack([columns, rows, 0 * rows], -1)) - (8, 6, 6)
...     return edge.Frame(
...         boot_id=1, sweep=1, sequence=number, timestamp_ns=number * 50_000_000, last=number == 29, geometry=geometry,
...         pose_status="ok", image_to_reference=tuple(pose(number).matrix.ravel().tolist()),
...         pixels=np.where((off_mm**2).sum(-1) < 16, 200, 40).astype(np.uint8),
...     )

``write_sweep`` and ``open_sweep``: PLUS sequences; ``open_sweep`` reads our recordings as well, and takes a PLUS configuration
(``plus_config``) or a probe file of `sonosweep calibrate` (``probe``) where a sequence holds the transforms of a tracker only.

>>> edge.write_sweep(Path("ball.igs.mha"), map(frame, range(30)))
30
>>> sweep = edge.open_sweep(Path("ball.igs.mha"))
>>> sweep.frame_count, sweep.has_poses, sweep.geometry.spacing_mm
(30, True, (0.25, 0.25))

``open_motion`` opens what says where a frame lies: a tracker's poses (``recorded``), a network, a constant motion, decorrelation.

>>> from edge.config import MotionConfig
>>> motion = edge.open_motion(MotionConfig(source="recorded"))
>>> motion.name, motion.relative
('recorded', False)

``VolumeSettings`` and ``open_compounder``: how a volume is built, and on what (``host``, ``cuda``, ``auto``). ``Reconstructor``
takes one frame and answers with what there is to say: poses, changed bricks, faults, the sweep's end.

>>> with edge.open_compounder("host", edge.VolumeSettings(spacing_mm=0.5)) as compounder:
...     reconstructor = edge.Reconstructor(motion, compounder)
...     said = [message for frame in sweep.frames() for message in reconstructor.feed(frame)]
...     volume = reconstructor.volumes()["ultrasound"]
>>> sorted({type(message).__name__ for message in said})
['Bricks', 'Pose', 'SweepEnded']
>>> reconstructor.ended, reconstructor.counts.placed
('last', 30)

``Volume`` is a dense grid in Reference: ``intensity`` and ``state`` [z, y, x]; the ball has 4/3 pi 4^3 = 268 mm3.

>>> isinstance(volume, edge.Volume), volume.spacing_mm, volume.metadata["direction_source"]
(True, 0.5, 'tracked')
>>> bool(abs((volume.intensity > 110).sum() * volume.spacing_mm**3 - 268) < 8)
True

``write_volume`` and ``read_volume``: .nrrd, .mha, .nii.gz, with the states of the voxels beside it.

>>> [path.name for path in edge.write_volume(Path("ball.nii.gz"), volume)]
['ball.nii.gz', 'ball-state.nii.gz']
>>> bool((edge.read_volume(Path("ball.nii.gz")).intensity == volume.intensity).all())
True

``SonosweepError`` is the root of everything that a person can mend; its message says what is wrong, and what to do.

>>> try:
...     edge.open_sweep(Path("nothing.igs.mha"))
... except edge.SonosweepError as wrong:
...     str(wrong)
'nothing.igs.mha: No such file or directory; name a sweep file'
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
