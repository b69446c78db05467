"""The demo's report as text."""

from __future__ import annotations

from typing import Any

from edge.commands.accuracy import told
from edge.commands.demo_light import vessels_told


def demo_text(answer: dict[str, Any]) -> str:
    """Frames, backend, latencies, faults, files, and the accuracy beside the baselines."""
    frames, latency = answer["frames"], answer["latency_ms"]
    lines = [f"frames     {', '.join(f'{count} {what}' for what, count in frames.items())}", f"backend    {answer['backend']}"]
    lines.append(f"direction  {answer['direction']} ({answer['direction_source']}), motion {answer['motion']}")
    lines += [f"latency    {stage}: p50 {ms['p50']:.1f}, p99 {ms['p99']:.1f}, max {ms['max']:.1f} ms" for stage, ms in latency.items()]
    lines += [f"fault      {name} x {count}" for name, count in answer["faults"].items()]
    lines += [f"wrote      {path}" for path in answer["files"]]
    return "\n".join([*lines, *told(answer["accuracy"]), *vessels_told(answer.get("vessels", []))])
