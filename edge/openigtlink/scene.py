"""What a viewer sees of the device, as messages: the live image where it lies, its pose, the state, the volume. No socket, no clock.

An image is shown where its pose says, as ``Image_Reference``; it waits for the pose a moment. Where nothing places images (no sweep
runs), they are shown as they come, as ``Image_Face``: in millimetres of the transducer's face.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from edge.light import PHOTOACOUSTIC, ULTRASOUND
from edge.messages import Frame, Message, Pose, Status, SweepEnded
from edge.openigtlink.bodies import (
    LPS_TO_RAS,
    Floats,
    ImageBody,
    StatusBody,
    TrackedBody,
    pack_image,
    pack_status,
    pack_text,
    pack_tracked,
    pack_transform,
)
from edge.openigtlink.outbox import Outgoing
from edge.tablet.jpeg import LiveImages
from edge.transform import image_to_face

NAMES = {"bmode": "Image", "photoacoustic": "PA"}
POSE = "ImageToReference"
VOLUME, VOLUMES = "Volume_Reference", "Volume_"  # ultrasound; what the name of every volume begins with
OK, NOT_FOUND, NOT_READY = 1, 4, 13
WAITING = 8  # images for their poses, and poses for their images
POSING_S = 1.0  # after the last pose images are expected to get one
TELL_EVERY_S = 1.0


class Scene:
    """Feed it with the bus; it answers with what there is to show. ``wanted`` false: nobody looks, so images are not made."""

    def __init__(self) -> None:
        self.wanted = True
        self.tracked = False  # somebody has asked for TDATA
        self.last: dict[str, Outgoing] = {}  # of each device name, for whoever asks
        self._images = LiveImages()
        self._frames: OrderedDict[tuple[int, int, int], Frame] = OrderedDict()
        self._poses: OrderedDict[tuple[int, int, int], Pose] = OrderedDict()
        self._posed_s = -POSING_S
        self._statuses: dict[str, tuple[float, Status]] = {}
        self._told_s = -TELL_EVERY_S
        self._ended = ""

    def feed(self, message: Message, now_s: float, wall_ns: int) -> list[Outgoing]:
        """``wall_ns`` is the time since 1970 at which CLOCK_MONOTONIC was 0. Raises BadSector for a geometry that cannot be drawn."""
        shown: list[Outgoing] = []
        if isinstance(message, Frame):
            shown = self._frame(message, now_s, wall_ns)
        elif isinstance(message, Pose):
            shown = self._pose(message, now_s, wall_ns)
        elif isinstance(message, Status):
            self._statuses[message.service] = now_s, message
        elif isinstance(message, SweepEnded) and message.service == "run":
            self._ended = f"the last sweep ended ({message.reason}): {message.frames} frames, {message.placed} placed"
        self.last |= {one.device: one for one in shown}
        return shown

    def tick(self, now_s: float, wall_ns: int) -> list[Outgoing]:
        """Once a second how the device is."""
        if now_s - self._told_s < TELL_EVERY_S:
            return []
        self._told_s = now_s
        return [self.status(now_s, wall_ns)]

    def status(self, now_s: float, wall_ns: int) -> Outgoing:
        """STATUS: well, or not ready where the reconstructor is silent."""
        alive = {name: status for name, (heard_s, status) in self._statuses.items() if now_s - heard_s < 2}
        states = ", ".join(f"{name} {status.state}" for name, status in sorted(alive.items()))
        placed = alive["run"].counts.get("placed", 0) if "run" in alive else 0
        faults = sorted({name for status in alive.values() for name in status.standing})
        text = "; ".join(
            part for part in (states or "no service is heard", f"{placed} frames placed", self._ended, ", ".join(faults)) if part
        )
        body = StatusBody(OK if "run" in alive else NOT_READY, "" if "run" in alive else "NOT_READY", text)
        return Outgoing("STATUS", "sonosweep", wall_ns + int(now_s * 1e9), pack_status(body))

    def _frame(self, frame: Frame, now_s: float, wall_ns: int) -> list[Outgoing]:
        key = (*frame.sweep_key, frame.sequence)
        if not self.wanted:
            return []
        if (pose := self._poses.pop(key, None)) is not None:
            return self._placed(frame, pose, wall_ns)
        if now_s - self._posed_s >= POSING_S:
            self._frames.clear()
            grey = self._images.grey(frame)
            face = image_to_face(grey.shape[1], frame.geometry.spacing_mm).matrix
            return [_image(f"{NAMES[frame.modality]}_Face", grey, face, wall_ns + frame.received_ns, {})]
        self._frames[key] = frame
        if len(self._frames) > WAITING:
            self._frames.popitem(last=False)
        return []

    def _pose(self, pose: Pose, now_s: float, wall_ns: int) -> list[Outgoing]:
        self._posed_s = now_s
        if not self.wanted:
            return []
        key = pose.boot_id, pose.sweep, pose.sequence
        while self._frames:
            waited, frame = self._frames.popitem(last=False)
            if waited == key:
                return self._placed(frame, pose, wall_ns)
            if waited > key:
                self._frames[waited] = frame
                self._frames.move_to_end(waited, last=False)
                break
        self._poses[key] = pose
        if len(self._poses) > WAITING:
            self._poses.popitem(last=False)
        return []

    def _placed(self, frame: Frame, pose: Pose, wall_ns: int) -> list[Outgoing]:
        at_ns = wall_ns + frame.received_ns
        matrix = np.reshape(pose.image_to_reference, (4, 4))
        told = {"FrameNumber": str(frame.sequence), "Sweep": str(frame.sweep), "TransformStatus": "OK", "PoseSource": pose.source}
        image = _image(f"{NAMES[frame.modality]}_Reference", self._images.grey(frame), matrix, at_ns, told)
        if frame.modality != "bmode":
            return [image]
        ras = LPS_TO_RAS @ matrix
        shown = [Outgoing("TRANSFORM", POSE, at_ns, pack_transform(ras), told), image]
        if self.tracked:
            shown.append(Outgoing("TDATA", "Tracker", at_ns, pack_tracked([TrackedBody(POSE, ras)]), told))
        return shown


def volume_device(channel_name: str) -> str:
    """The device name of a channel's volume: ``Volume_Reference``, ``Volume_PA_850nm``, ``Volume_PA``."""
    return VOLUME if channel_name == ULTRASOUND else f"Volume_{channel_name.replace(PHOTOACOUSTIC, 'PA').replace('-', '_')}"


def volume_message(channel_name: str, voxels: NDArray[np.uint8], image_to_reference: Floats, at_ns: int) -> Outgoing:
    """The volume of one channel as an IMAGE."""
    return _image(volume_device(channel_name), voxels, image_to_reference, at_ns, {"Channel": channel_name})


def not_found(device: str, why: str, at_ns: int) -> Outgoing:
    """STATUS: what was asked for is not there."""
    return Outgoing("STATUS", device[:20], at_ns, pack_status(StatusBody(NOT_FOUND, "NOT_FOUND", why)))


def text_message(device: str, text: str, at_ns: int) -> Outgoing:
    """A STRING."""
    return Outgoing("STRING", device[:20], at_ns, pack_text(text))


def _image(device: str, grey: NDArray[np.uint8], image_to_lps: Floats, at_ns: int, metadata: dict[str, str]) -> Outgoing:
    voxels = grey if grey.ndim == 3 else grey[np.newaxis]
    return Outgoing("IMAGE", device, at_ns, pack_image(ImageBody(voxels, image_to_lps)), metadata)
