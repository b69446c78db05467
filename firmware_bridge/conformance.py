"""The wire's rules in one table: what a front end must do, how to put it right, and the verdict on what was heard."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firmware_bridge import errors
from firmware_bridge.heard import Finding, Heard

SETTLED_NS = 1_000_000_000  # after it was let in a front end first sends what has waited
LEAST_SPAN_NS = 2_000_000_000
LEAST_STEPS = 10
CLOCK_TOLERANCE = RATE_TOLERANCE = 0.05
MOSTLY = 0.5  # of the frames
SMALL_ID = 1 << 32

Outcome = Literal["pass", "fail", "not seen"]
Verdict = tuple[Outcome, str]


class Declared(NamedTuple):
    """What the maker of the front end says of it; 0: nothing."""

    frames_per_s: float = 0.0


class Rule(NamedTuple):
    """``judge`` answers the outcome and what was measured."""

    says: str
    cure: str
    judge: Callable[[Heard, Declared], Verdict]


class Result(msgspec.Struct, frozen=True):
    """A rule and what became of it."""

    rule: str
    outcome: Outcome
    says: str
    measured: str
    cure: str  # empty unless it failed


def judge(heard: Heard, declared: Declared) -> list[Result]:
    """Every rule of the table."""
    found = []
    for name, rule in RULES.items():
        outcome, measured = rule.judge(heard, declared)
        found.append(Result(name, outcome, rule.says, measured, rule.cure if outcome == "fail" else ""))
    return found


def _well_formed(kind: type[errors.MalformedPacket], seen: Callable[[Heard], int] = lambda heard: heard.frames) -> Callable[..., Verdict]:
    def verdict(heard: Heard, declared: Declared) -> Verdict:
        if kind in heard.malformed:
            return "fail", f"{heard.malformed[kind].count} of {heard.messages} messages: {heard.malformed[kind].examples[0]}"
        count = seen(heard)
        return ("pass", f"{count} frames") if count else ("not seen", "no frame had any")

    return verdict


def _none(*findings: Callable[[Heard], Finding], seen: Callable[[Heard], int], unit: str) -> Callable[..., Verdict]:
    """Fails where one of the findings was made; not seen where there was nothing to look at."""

    def verdict(heard: Heard, declared: Declared) -> Verdict:
        made = [str(found) for finding in findings if (found := finding(heard)).count]
        if made:
            return "fail", "; ".join(made)
        return ("pass", f"{seen(heard)} {unit}") if seen(heard) else ("not seen", f"no {unit}")

    return verdict


def _mostly(finding: Callable[[Heard], Finding], of: Callable[[Heard], int]) -> Callable[..., Verdict]:
    """Fails where it was found in most of the frames: one that is blank, or the same as before, is nothing unusual."""

    def verdict(heard: Heard, declared: Declared) -> Verdict:
        found, total = finding(heard), of(heard)
        if not total:
            return "not seen", "no frames to compare"
        measured = f"{found.count} of {total} frames{f' ({found.examples[0]})' if found.count else ''}"
        return ("fail" if found.count > MOSTLY * total else "pass"), measured

    return verdict


def _connects(heard: Heard, declared: Declared) -> Verdict:
    if not heard.messages:
        return "fail", f"{heard.connections} connections, no message"
    return "pass", f"{heard.connections} connections, {heard.messages} messages"


def _settled(heard: Heard) -> list[NDArray[np.float64]]:
    """(the probe's time, ours) of the frames of each connection that came at their own rate, ns."""
    times = np.array([heard.probe_ns, heard.received_ns], np.float64)
    parts = [times[:, start:stop] for start, stop in pairwise([*heard.segments, times.shape[1]]) if start < stop]
    settled = [part[:, np.searchsorted(part[1], part[1, 0] + SETTLED_NS) :] for part in parts]
    return [part for part in settled if part.shape[1]]


def _clock(heard: Heard, declared: Declared) -> Verdict:
    spans = [part[:, -1] - part[:, 0] for part in _settled(heard)]
    told, passed = np.sum(spans, axis=0).tolist() if spans else (0.0, 0.0)
    if passed < LEAST_SPAN_NS:
        return "not seen", "not enough frames at their own rate; listen longer"
    return _ok(abs(told / passed - 1) <= CLOCK_TOLERANCE), f"{told / passed:.4g} s of the probe's clock in a second of ours"


def _rate(heard: Heard, declared: Declared) -> Verdict:
    steps_s = np.concatenate([np.zeros(0), *(np.diff(part[0]) for part in _settled(heard))]) / 1e9
    if len(steps_s) < LEAST_STEPS:
        return "not seen", f"{len(steps_s)} intervals at their own rate; {LEAST_STEPS} are needed, listen longer"
    middle = float(np.median(steps_s))
    if middle <= 0:
        return "fail", "the time does not move on"
    measured = f"{1 / middle:.4g} frames/s by the probe's clock; 98 % of intervals {np.percentile(steps_s, 1) * 1e3:.3g} to "
    measured += f"{np.percentile(steps_s, 99) * 1e3:.3g} ms"
    if not declared.frames_per_s:
        return "not seen", f"{measured}; declare a rate with --rate"
    return _ok(abs(1 / middle / declared.frames_per_s - 1) <= RATE_TOLERANCE), f"{measured}; declared {declared.frames_per_s:g}"


def _boot_id(heard: Heard, declared: Declared) -> Verdict:
    if not heard.boots:
        return "not seen", "no frames"
    small = [boot for boot in heard.boots if boot < SMALL_ID]
    measured = f"{len(heard.boots)} in {max(heard.connections, 1)} connections: {', '.join(f'{boot:016x}' for boot in heard.boots[:3])}"
    return _ok(not small and len(heard.boots) <= max(heard.connections, 1)), measured


def _reconnect(heard: Heard, declared: Declared) -> Verdict:
    if heard.never_back:
        return "fail", "nobody came back after we had hung up"
    if heard.back_after_cut is None:
        return "not seen", "the link was not cut, or the front end had finished"
    same, lost = heard.back_after_cut
    if not same:
        return "fail", "it came back with another boot_id, as if it had been started again"
    return "pass", f"it came back; {lost} frames were on their way when we hung up"


def _ok(well: bool) -> Outcome:
    return "pass" if well else "fail"


def _frames(heard: Heard) -> int:
    return heard.frames


RULES = {
    "connects": Rule("a front end connects and sends", "zmq_connect a PUSH socket to the endpoint; with CURVE, allow its key", _connects),
    "parts": Rule(
        "three parts: header, extensions, samples", "ZMQ_SNDMORE on the first two; send an empty second part", _well_formed(errors.BadParts)
    ),
    "magic": Rule("the header begins with SSWP", "sonosweep_header_init; little-endian", _well_formed(errors.BadMagic)),
    "version": Rule("the header is of our version", "build with the bridge's sonosweep_wire.h", _well_formed(errors.UnsupportedVersion)),
    "sizes": Rule(
        "sizes agree with the parts and the image", "sonosweep_seal after all else; width * height * bytes", _well_formed(errors.BadSize)
    ),
    "checksum": Rule("CRC-32 over header, extensions, samples", "sonosweep_seal, and change nothing after it", _well_formed(errors.BadCrc)),
    "fields": Rule("every field is known and in range", "see the comment of that field in sonosweep_wire.h", _well_formed(errors.BadField)),
    "pose": Rule(
        "a pose is rigid and scales as spacing_mm says",
        "row-major, pixels to mm; SONOSWEEP_POSE_MISSING and zeros without a tracker",
        _well_formed(errors.BadPose, lambda heard: heard.poses),
    ),
    "extensions": Rule(
        "extension blocks are whole and possible",
        "sonosweep_append_extension; each type once",
        _well_formed(errors.BadExtension, lambda heard: heard.extended),
    ),
    "sequence": Rule(
        "sequence rises by 1 from 0 in each sweep, without gap or step back",
        "count frames of all modalities together; wait where the socket is full, drop nothing",
        _none(lambda h: h.gaps, lambda h: h.steps_back, lambda h: h.late_starts, seen=_frames, unit="frames"),
    ),
    "waits": Rule(
        "it waits while the bridge is busy, and drops nothing",
        "a blocking zmq_send on a PUSH socket (never PUB, never ZMQ_DONTWAIT and on with the next frame)",
        _none(lambda h: h.dropped, seen=lambda h: h.waited, unit="frames after we had not read for a while"),
    ),
    "sweeps": Rule(
        "each sweep has another number",
        "count sweeps since the start of the front end",
        _none(lambda h: h.reused, seen=lambda h: h.sweeps, unit="sweeps"),
    ),
    "last": Rule(
        "the last frame of a sweep says so, and none follows it",
        "set SONOSWEEP_LAST_OF_SWEEP on the last frame, then count the sweep up",
        _none(lambda h: h.not_ended, lambda h: h.after_last, seen=lambda h: h.ended, unit="ended sweeps"),
    ),
    "timestamps": Rule(
        "timestamp_ns rises from frame to frame",
        "a monotonic clock (CLOCK_MONOTONIC or a counter), never one that is set",
        _none(lambda h: h.times_back, seen=_frames, unit="frames"),
    ),
    "clock": Rule("timestamp_ns is in nanoseconds", "convert your counter's ticks to nanoseconds", _clock),
    "rate": Rule(
        "frames come at the declared rate", "stamp the middle of the acquisition, not the time of sending; check the declared rate", _rate
    ),
    "imu": Rule(
        "IMU samples rise in time and belong to their frame",
        "stamp each reading itself, with the clock of the frames",
        _none(lambda h: h.imu_wrong, seen=lambda h: h.imu_samples, unit="samples"),
    ),
    "geometry": Rule(
        "size, spacing and geometry stay the same in a sweep",
        "end the sweep before the operator's change of depth takes effect",
        _none(lambda h: h.changed, seen=_frames, unit="frames"),
    ),
    "spacing": Rule(
        "spacing and depth are those of an ultrasound image",
        "spacing_mm in mm per pixel, lateral then axial; depth_mm in mm",
        _none(lambda h: h.implausible, seen=lambda h: len(h.geometries), unit="geometries"),
    ),
    "contents": Rule("images are not blank", "check that the buffer is filled before it is sent", _mostly(lambda h: h.blank, _frames)),
    "changes": Rule(
        "images differ from each other",
        "send each acquisition once, not the last one again",
        _mostly(lambda h: h.frozen, lambda h: h.comparable),
    ),
    "range": Rule(
        "samples lie within sample_range", "sample_range: the values that mean black and white", _mostly(lambda h: h.outside, _frames)
    ),
    "boot_id": Rule("boot_id is random, and the same until a restart", "draw 64 random bits once, when the front end starts", _boot_id),
    "reconnect": Rule("it comes back by itself after the bridge has restarted", "leave the socket open: ZeroMQ connects again", _reconnect),
}
