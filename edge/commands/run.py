"""``sonosweep run``: the reconstruction service."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

import zmq

from edge.commands.options import add_config, add_json, read_config
from edge.compounding import VolumeSettings, open_compounder
from edge.config import Config
from edge.console import result, say
from edge.daemon import serve, sole
from edge.errors import SonosweepError
from edge.motion import open_motion
from edge.reconstructor import Reconstructor
from edge.run import RunService
from edge.waiting import Waiting, begin_again, look_command, reason, unused_gpu

SUMMARY = "the service that places frames and publishes poses, bricks and status"
EXAMPLES = """  sonosweep run                                  # as configured in /etc/sonosweep/edge.toml
  sonosweep run --check                          # would it begin? which backends?
  sonosweep run --config edge.toml --run-dir run # on a desk, beside `sonosweep bridge --run-dir run`"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the service: everything else is in the configuration file."""
    add_config(parser)
    parser.add_argument("--check", action="store_true", help="only open what is configured, say what it is or what is lacking, and end")
    add_json(parser)


def open_reconstructor(config: Config, *, say_bricks: bool = True, epoch: int = 0) -> Reconstructor:
    """The reconstructor that ``config`` asks for; the caller closes its compounder."""
    volume = config.volume
    settings = VolumeSettings(
        spacing_mm=volume.spacing_mm,
        compounding=volume.compounding,
        max_gap_mm=volume.max_gap_mm,
        light_max_gap_mm=volume.light_max_gap_mm,
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
    """Serve until SIGTERM. Where the reconstructor does not open, wait for what it lacks, and say so."""
    config = read_config(options)
    if options.check:
        return _check(config, options.json)
    with sole(Path(config.run_dir), "run"), zmq.Context() as context:
        try:
            reconstructor = open_reconstructor(config, epoch=secrets.randbits(31) << 20)  # never one that clients have heard before
        except SonosweepError as wrong:
            stopped = _wait(context, config, wrong)
        else:
            _serve(context, config, reconstructor)
            stopped = True
    return 0 if stopped else begin_again()


def _serve(context: zmq.Context[zmq.Socket[bytes]], config: Config, reconstructor: Reconstructor) -> None:
    service = RunService(context, config, reconstructor, unused_gpu(config, reconstructor.compounder.backend))
    say(f"run: {service.status().backend}; voxels of {config.volume.spacing_mm} mm")
    try:
        serve(service.step, status=lambda: service.state)
    finally:
        service.close()
        reconstructor.compounder.close()


def _wait(context: zmq.Context[zmq.Socket[bytes]], config: Config, wrong: SonosweepError) -> bool:
    """True where the service was stopped, False where the reconstructor would open now."""
    waiting = Waiting(context, config, reason(config, wrong), look_command())
    say("run: waiting; looking again every few seconds")
    try:
        return serve(waiting.step, status=lambda: waiting.status().state, over=lambda: waiting.over)
    finally:
        waiting.close()


def _check(config: Config, as_json: bool) -> int:
    try:
        reconstructor = open_reconstructor(config)
    except SonosweepError as wrong:
        name, detail = reason(config, wrong)
        result({"opens": False, "fault": name, "detail": detail}, as_json=as_json, text=f"{name}: {detail}")
        return 1
    with reconstructor.compounder as compounder:
        told = {"opens": True, "compounding": compounder.backend, "motion": reconstructor.motion.name}
        told["motion_backend"] = reconstructor.motion.backend
        result(told, as_json=as_json, text=", ".join(str(value) for value in list(told.values())[1:] if value))
    return 0
