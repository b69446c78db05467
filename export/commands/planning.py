"""``sonosweep export planning``: predicted frame time, memory and power of a bundle on the Jetson modules, as a Markdown sheet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge.atomic import replacing
from edge.benchmark.records import Plan
from edge.benchmark.speckle_sweep import PIXEL_MM
from edge.commands.options import add_json
from edge.commands.outputs import check_outputs
from edge.console import result
from edge.errors import SonosweepError
from edge.motion.bundle import find_bundle, open_bundle
from export.pack import REFERENCE
from export.planning import BYTES, DEVICES, IDLE_SHARE, LAUNCH_US, MEMORY_REACHED, REACHED, rows, volume_mb, work_of

SUMMARY = "predict frame time, memory and power on Jetson modules, from operations and bytes counted"
EXAMPLES = """  sonosweep export planning small --records bench/results/amd-epyc-2-cores.json
  sonosweep export planning mine.zip --records records.json --frames-per-s 60 -o docs/planning.md"""


class NoRecords(SonosweepError):
    """A file is not what ``sonosweep bench -o`` writes, or holds no compounding."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle and measured bytes in, sheet out."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a path, or the name of a bundle that comes with the package")
    parser.add_argument("--records", type=Path, required=True, metavar="JSON", help="from `sonosweep bench -o`: bytes of compounding")
    parser.add_argument("--frames-per-s", type=float, default=30.0, metavar="N", help="that the power is told for (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="SHEET.md", help="write the sheet there as well")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Count, predict, tell."""
    check_outputs([options.output], [options.records])
    bundle = open_bundle(find_bundle(options.bundle))
    moved = _moved_bytes(options.records)
    work = {variant: work_of(bundle.graph(REFERENCE), variant) for variant in REACHED}
    found = list(rows(work, moved, options.frames_per_s))
    sheet = "\n\n".join(
        (
            f"# What `{bundle.card.name}` will need on a device",
            "Predicted, not measured: nothing here was run on a Jetson. Written by `sonosweep export planning`: operations and bytes are "
            f"counted in the step graph, those of compounding were measured by `sonosweep bench` ({options.records.name}).",
            _markdown(found),
            "## Counted\n\n"
            + _markdown([{"network": name, **one._asdict()} for name, one in work.items()])
            + "\n\n"
            + _markdown([_volume(mm, count) for mm, count in moved.items()]),
            "## Assumed\n\n" + _assumed(),
        )
    )
    if options.output:
        with replacing(options.output) as out:
            out.write(sheet.encode() + b"\n")
    answer = {"rows": found, "work": {name: one._asdict() for name, one in work.items()}, "moved_bytes": moved}
    result(answer, as_json=options.json, text=sheet)
    return 0


def _moved_bytes(path: Path) -> dict[float, float]:
    """Bytes that compounding moves for a frame, by voxel size."""
    try:
        records = msgspec.json.decode(path.read_bytes())
        chosen = [record for record in records if record["stage"] == "compounding, mean" and record.get("moved_gb_per_s")]
        found = {record["spacing_mm"]: record["moved_gb_per_s"] * 1e9 / record["frames_per_s"] for record in chosen}
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as wrong:
        raise NoRecords(f"{path}: is not what `sonosweep bench -o` writes ({wrong!r})") from wrong
    if not found:
        raise NoRecords(f"{path}: holds no compounding; make it with `sonosweep bench --only compounding -o {path.name}`")
    return found


def _volume(mm: float, moved_bytes: float) -> dict[str, Any]:
    width, height = (count * PIXEL_MM for count in Plan().image_size)
    size = {f"volume, MB for 100 mm of {width:g} x {height:g} mm": round(volume_mb(mm, (width, height), 100))}
    return {"voxels mm": mm, "compounding, MB moved for a frame": round(moved_bytes / 1e6, 2), **size}


def _assumed() -> str:
    launches = ", ".join(f"{name} {us:g} us" for name, us in LAUNCH_US.items())
    reached = ", ".join(f"{name} {share:.1%}" for name, share in REACHED.items())
    lines = [
        f"- Share of the tensor cores' dense rate that a small network reaches at batch 1: {reached}. From YOLOv8n (8.7 GFLOP) on "
        "Orin Nano MAXN Super with TensorRT 10.3: 4.43 ms in FP16, 3.49 ms in INT8 (published by hokwangchoi/jetson-orin-nano-benchmarks).",
        f"- Share of the memory's rate that kernels reach: {MEMORY_REACHED:.0%}.",
        f"- Time of a launch: {launches}. Every node that is no view counts as a kernel; TensorRT fuses some, so steps will be shorter.",
        f"- Bytes of an activation between kernels: {', '.join(f'{name} {size}' for name, size in BYTES.items())}.",
        f"- A module that waits draws {IDLE_SHARE:.0%} of its mode's power; the rest in proportion to the time in which it computes.",
    ]
    devices = [device._asdict() for device in DEVICES]
    return "\n".join(lines) + "\n\nPeak rates, dense; [a]: scaled or assumed.\n\n" + _markdown(devices)


def _markdown(table: Sequence[dict[str, Any]]) -> str:
    head = list(table[0])
    lines = [head, ["---"] * len(head), *([f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in table)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
