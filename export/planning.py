"""What a device will need for a frame, predicted before there is one: operations and bytes counted, rates of published measurements.

Every number that is not counted here stands in a table with its source or is called an assumption; the sheet prints them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import onnx

from export.graph import multiply_adds, tensor_shapes

VIEWS = {
    "Reshape",
    "Unsqueeze",
    "Squeeze",
    "Identity",
    "Flatten",
    "Constant",
    "QuantizeLinear",
    "DequantizeLinear",
}  # no kernel of their own
PICKS = {"Slice", "Gather", "Split"}  # read no more than they give
BYTES = {"fp32": 4, "fp16": 2, "int8-fp16": 2}  # of an activation between kernels


class Device(NamedTuple):
    """A module in one power mode. Dense peak rates of its tensor cores in 10^12/s, memory in GB/s, the whole module's power in W."""

    name: str
    fp16_tflops: float
    int8_tops: float
    memory_gb_s: float
    watts: float
    source: str


# reference: NVIDIA's datasheets as quoted by third parties; [a] marks what was scaled or assumed.
DEVICES = (
    Device("Orin Nano 8 GB, 15 W", 10.2, 20.0, 68, 15, "GPU at 612 of 1020 MHz; 68 GB/s"),
    Device("Orin Nano 8 GB, 25 W", 15.3, 29.7, 102, 25, "GPU at 918 MHz, memory at 3199 MHz"),
    Device("Orin Nano 8 GB, MAXN Super", 17.0, 33.0, 102, 25, "67 sparse INT8 TOPS; power not capped, taken as 25 W [a]"),
    Device("Orin NX 16 GB", 25.0, 50.0, 102, 25, "100 sparse INT8 TOPS, FP16 [a]"),
    Device("AGX Orin 64 GB", 42.0, 85.0, 204.8, 60, "275 sparse INT8 TOPS with the DLAs; GPU alone [a]"),
    Device("Thor T5000", 258.0, 517.0, 273, 130, "1035 sparse INT8 TOPS; FP16 [a]"),
)
# YOLOv8n, 8.7 GFLOP, on Orin Nano MAXN Super with TensorRT 10.3: 4.43 ms in FP16, 3.49 ms in INT8 (8.7e9 / 4.43e-3 / 17e12, ...).
REACHED = {"fp16": 0.116, "int8-fp16": 0.076}
MEMORY_REACHED = 0.6  # assumption, of the memory's rate
LAUNCH_US = {"each kernel launched": 8.0, "CUDA graph": 2.0}  # assumption, on an Orin's CPU
IDLE_SHARE = 0.4  # assumption: of the mode's power that a module draws while it waits


class Work(NamedTuple):
    """One step of a graph: multiply-adds times two, bytes of weights, bytes that kernels read and write, kernels (at most)."""

    gflop: float
    weight_bytes: int
    moved_bytes: int
    state_bytes: int
    kernels: int


def work_of(graph: bytes, variant: str) -> Work:
    """Counted from the step graph (FP32, its shapes are those of all variants); each node that is no view counts as a kernel."""
    model = onnx.load_model_from_string(graph)
    shapes = tensor_shapes(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    kernels = [node for node in model.graph.node if node.op_type not in VIEWS]
    products = sum(multiply_adds(node, shapes) for node in kernels)
    moved = sum(_moved(node, sizes) for node in kernels)
    outputs = sum(sizes[output.name] for output in model.graph.output)
    size = BYTES[variant]
    return Work(2 * products / 1e9, size * sum(sizes[name] for name in weights), size * moved, 4 * outputs, len(kernels))


def predicted(device: Device, variant: str, work: Work, launch: str) -> float:
    """Milliseconds of one step: launches, and the longer of products and memory."""
    peak = device.int8_tops if variant.startswith("int8") else device.fp16_tflops
    products_ms = work.gflop / (REACHED[variant] * peak)
    memory_ms = work.moved_bytes / (MEMORY_REACHED * device.memory_gb_s * 1e6)
    return max(products_ms, memory_ms) + work.kernels * LAUNCH_US[launch] / 1e3


def compounding_ms(device: Device, moved_bytes: float) -> float:
    """Of one frame: its bytes at the memory's rate, and three launches."""
    return moved_bytes / (MEMORY_REACHED * device.memory_gb_s * 1e6) + 3 * LAUNCH_US["each kernel launched"] / 1e3


def watts(device: Device, busy_share: float) -> float:
    """Mean power while a share of the time is computed."""
    return device.watts * (IDLE_SHARE + (1 - IDLE_SHARE) * min(busy_share, 1.0))


def rows(work: dict[str, Work], moved_bytes: dict[float, float], frames_per_s: float) -> Iterator[dict[str, Any]]:
    """A row for each device and variant. ``moved_bytes`` of compounding by voxel size in mm."""
    finest = min(moved_bytes)
    for device in DEVICES:
        for variant, one in work.items():
            alone, graphed = (predicted(device, variant, one, launch) for launch in LAUNCH_US)
            volume = compounding_ms(device, moved_bytes[finest])
            frame = graphed + volume
            yield {
                "device": device.name,
                "network": variant,
                "step ms": round(alone, 2),
                "with a CUDA graph": round(graphed, 2),
                f"compounding at {finest} mm": round(volume, 2),
                "frames/s at most": round(1e3 / frame),
                f"W at {frames_per_s:g}/s": round(watts(device, frames_per_s * frame / 1e3), 1),
            }


def volume_mb(spacing_mm: float, image_mm: tuple[float, float], sweep_mm: float) -> float:
    """Of a straight sweep: four bytes for each voxel."""
    return 4 * math.prod(image_mm) * sweep_mm / spacing_mm**3 / 1e6


def _moved(node: onnx.NodeProto, sizes: dict[str, int]) -> int:
    """Elements that a kernel reads and writes."""
    out = sum(sizes.get(name, 0) for name in node.output)
    return 2 * out if node.op_type in PICKS else out + sum(sizes.get(name, 0) for name in node.input)
