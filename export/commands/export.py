"""``sonosweep export ACTION``: one table of what can be done with a network."""

from __future__ import annotations

import argparse

from edge.commands.actions import Action, add_actions, run_action

SUMMARY = "turn a network into a bundle that proves itself on the device"
EXAMPLES = """  sonosweep export bundle step.onnx --card card.json --golden sweep.igs.mha -o small.zip
  sonosweep export card small
  sonosweep export train --preset cpu --minutes 240 --data train-sweeps -o small.zip
  sonosweep export bundle --help"""

ACTIONS = {
    "bundle": Action("export.commands.bundle", "pack a step graph with its card and golden sequence", ("onnx", "onnxruntime"), "export"),
    "card": Action("export.commands.card", "show a bundle's card, or write measured figures into it", ("onnxruntime",), "export"),
    "engine": Action("export.commands.engine", "build and prove a TensorRT engine of a bundle for this machine"),
    "firstboot": Action("export.commands.firstboot", "build the configured network's engine where TensorRT is and none fits yet"),
    "parity": Action("export.commands.parity", "compare a bundle's variants with FP32 on tracked sweeps", ("onnxruntime",), "export"),
    "planning": Action("export.commands.planning", "predict frame time, memory and power on Jetson modules", ("onnx",), "export"),
    "quantize": Action("export.commands.quantize", "add INT8 and FP16 variants to a bundle", ("onnx", "onnxruntime"), "export"),
    "source": Action("export.commands.source", "simulate sweeps to train on, or prove that the simulation behaves", ("torch",), "train"),
    "streaming": Action(
        "export.commands.streaming", "what a step with carried state saves against the published window", ("torch", "onnxscript"), "train"
    ),
    "train": Action(
        "export.commands.train", "train a motion network, or fit one to a probe", ("torch", "onnx", "onnxscript", "onnxruntime"), "train"
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action and its own options."""
    add_actions(parser, ACTIONS)


def run(options: argparse.Namespace) -> int:
    """Run the chosen action."""
    return run_action(options, ACTIONS)
