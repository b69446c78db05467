"""All services on this machine, for tests: a device in two folders, and a probe beside it that is held until it is told to play."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.config import BridgeConfig, Config, DicomConfig, MotionConfig, RecordConfig, TabletConfig, VolumeConfig
from edge.files import open_sweep


def device_config(folder: Path, run_dir: str, motion: str = "constant", dicom: DicomConfig | None = None, **tablet: object) -> Config:
    """Sweeps and the tablet's files go into ``folder``; the operator begins sweeps."""
    return Config(
        run_dir=run_dir,
        bridge=BridgeConfig(endpoint=f"ipc://{run_dir}/probe.ipc", sweeps="operator"),
        motion=MotionConfig(source=motion),
        volume=VolumeConfig(spacing_mm=0.5, save=str(folder / "sweeps")),
        record=RecordConfig(folder=str(folder / "sweeps")),
        dicom=dicom or DicomConfig(),
        tablet=TabletConfig(**{"address": "127.0.0.1", "port": 0, "secure": False, "folder": str(folder / "tablet"), **tablet}),
    )


class HeldProbe:
    """It plays its sweep once, then lies still, and plays it again at each :meth:`move`."""

    def __init__(self, process: subprocess.Popen[bytes], played: Path, lasts_s: float) -> None:
        self.process, self._played, self._lasts_s, self._still_at = process, played, lasts_s, 0.0

    def still(self) -> bool:
        """A sweep that begins now would not be ended by the one that it still plays."""
        return self._played.exists() and time.monotonic() > self._still_at

    def move(self) -> None:
        """Play now."""
        self._still_at = time.monotonic() + self._lasts_s
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()


@contextmanager
def held_probe(sweep: Path, config: Config, *words: str) -> Iterator[HeldProbe]:
    """Gone with the block, whatever happens in it."""
    played = Path(config.run_dir) / "played.json"  # written once it lies still
    play = [sys.executable, "-m", "edge", "probe", str(sweep), "--endpoint", config.bridge.endpoint, "--held", "--quiet"]
    plays = open_sweep(sweep)
    with subprocess.Popen([*play, "--trace", str(played), *words], stdin=subprocess.PIPE) as process:
        try:
            yield HeldProbe(process, played, plays.frame_count / plays.frames_per_s + 1.0)
        finally:
            process.kill()
