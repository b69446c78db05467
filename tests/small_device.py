"""All services on this machine, for tests: a device in two folders, and a probe beside it that is held until it is told to play."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.config import BridgeConfig, Config, DicomConfig, MotionConfig, RecordConfig, TabletConfig, VolumeConfig


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


@contextmanager
def held_probe(sweep: Path, config: Config, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A probe that lies still until a line comes to its stdin; gone with the block, whatever happens in it."""
    play = [sys.executable, "-m", "edge", "probe", str(sweep), "--endpoint", config.bridge.endpoint, "--held", "--quiet", *words]
    with subprocess.Popen(play, stdin=subprocess.PIPE) as probe:
        try:
            yield probe
        finally:
            probe.kill()
