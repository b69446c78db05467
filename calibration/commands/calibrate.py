"""``sonosweep calibrate ACTION``: one table of what can be calibrated."""

from __future__ import annotations

import argparse

from edge.commands.actions import Action, add_actions, run_action

SUMMARY = "fit the device to a probe: where its image lies to the tracker, their lag, its scale; a network's normalisation, motion presets"
EXAMPLES = """  sonosweep calibrate constant tracked/*.igs.mha -o preset.json
  sonosweep calibrate domain scan.mcap --model small.zip
  sonosweep calibrate decorrelation tracked/*.igs.mha -o curve.json
  sonosweep calibrate spatial wires.igs.mha --phantom PlusDeviceSet.xml -o probe.json
  sonosweep calibrate constant --help"""

ACTIONS = {
    "constant": Action("calibration.commands.constant", "the mean motion of tracked sweeps, as a preset"),
    "domain": Action(
        "calibration.commands.domain",
        "a network's normalisation, from unlabelled scanning",
        ("onnxruntime",),
        "network",
    ),
    "decorrelation": Action("calibration.commands.decorrelation", "how speckle changes with motion, from tracked sweeps"),
    "spatial": Action("calibration.commands.spatial", "ImageToProbe of a tracked probe, on an N-wire phantom"),
    "temporal": Action("calibration.commands.temporal", "the lag between images and tracker or inertial unit"),
    "scale": Action("calibration.commands.scale", "declared against measured pixel spacing, on an N-wire phantom"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action and its own options."""
    add_actions(parser, ACTIONS)


def run(options: argparse.Namespace) -> int:
    """Run the chosen action."""
    return run_action(options, ACTIONS)
