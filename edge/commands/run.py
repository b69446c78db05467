"""``sonosweep run``: the reconstruction service."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

import zmq

from edge.commands.options import add_config, read_config
from edge.compounding import VolumeSettings, open_compounder
from edge.config import Config
from edge.console import say
from edge.daemon import serve, sole
from edge.motion import open_motion
from edge.reconstructor import Reconstructor
from edge.run import RunService

SUMMARY = "the service that places frames and publishes poses, bricks and status"
EXAMPLES = """  sonosweep run                                  # as configured in /etc/sonosweep/edge.toml
  sonosweep run --config edge.toml --run-dir run # on a desk, beside `sonosweep bridge --run-dir run`"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the service: everything else is in the configuration file."""
    add_config(parser)


def open_reconstructor(config: Config, *, say_bricks: bool = True, epoch: int = 0) -> Reconstructor:
    """The reconstructor that ``config`` asks for; the caller closes its compounder."""
    volume = config.volume
    settings = VolumeSettings(
        spacing_mm=volume.spacing_mm,
        compounding=volume.compounding,
        max_gap_mm=volume.max_gap_mm,
        memory_limit_mib=volume.memory_limit_mib,
    )
    return Reconstructor(
        open_motion(config.motion),
        open_compounder(volume.backend, settings, volume.threads),
        direction=config.motion.direction,
        fill_holes=volume.fill_holes,
        say_bricks=say_bricks,
        epoch=epoch,
        pulse_energy_mj=volume.pulse_energy_mj,
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    config = read_config(options)
    with sole(Path(config.run_dir), "run"), zmq.Context() as context:
        reconstructor = open_reconstructor(config, epoch=secrets.randbits(31) << 20)  # never one that clients have heard before
        service = RunService(context, config, reconstructor)
        say(f"run: {service.status().backend}; voxels of {config.volume.spacing_mm} mm")
        try:
            serve(service.step, status=lambda: service.state)
        finally:
            service.close()
            reconstructor.compounder.close()
    return 0
