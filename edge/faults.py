"""Everything that can go wrong on a device: name, effect, and what the operator reads. Nothing else raises a fault."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Effect(enum.Enum):
    """What a fault does to the sweep."""

    NOTE = "note"  # shown; the sweep goes on
    BREAK = "break"  # the sweep ends; what was placed stays
    STOP_RECORDING = "stop_recording"  # the recording ends; the live view goes on


class Fault(NamedTuple):
    """A row of the table: what happens, and the operator's sentence (what happened, what to do)."""

    effect: Effect
    operator: str


FAULTS = {
    "FRAMES_LOST": Fault(Effect.BREAK, "Too many frames were lost. The sweep ended; start a new one."),
    "FRAMES_BRIDGED": Fault(Effect.NOTE, "A few frames were lost and bridged. Check the cable or the radio link."),
    "FRAME_REPEATED": Fault(Effect.NOTE, "The probe sent a frame twice or out of order. The frame was not used."),
    "GEOMETRY_CHANGED": Fault(Effect.BREAK, "Depth or image size changed. The sweep ended; start a new one."),
    "GEOMETRY_REFUSED": Fault(
        Effect.BREAK, "This image geometry cannot be placed: a sweep ended, or none can begin. Check the probe's settings."
    ),
    "PROBE_RESTARTED": Fault(Effect.BREAK, "The probe started again. The sweep ended; start a new one."),
    "PROBE_SILENT": Fault(Effect.BREAK, "The probe sends no images. The sweep ended; check the probe and its cable."),
    "SWEEP_JOINED_LATE": Fault(Effect.NOTE, "The first images of this sweep are missing from the volume. They are in the recording."),
    "POSE_MISSING": Fault(Effect.NOTE, "Some images have no position (no tracker, or it is lost). They are recorded, not placed."),
    "POSE_REFUSED": Fault(Effect.NOTE, "The position of an image was impossible. The image was not placed."),
    "POSE_HELD": Fault(Effect.NOTE, "Some photoacoustic images lie at the nearest ultrasound position: none was on both sides of them."),
    "WAVELENGTHS_TOO_MANY": Fault(Effect.NOTE, "The laser sends more than four wavelengths. Images of the others are only recorded."),
    "DIRECTION_UNVERIFIED": Fault(Effect.NOTE, "The sweep direction is not confirmed. The volume may be a mirror image."),
    "NETWORK_FAILED": Fault(Effect.BREAK, "The motion estimate failed. The sweep ended; the recording goes on."),
    "VOLUME_FULL": Fault(Effect.BREAK, "The volume is full. The sweep ended; save it and start a new one."),
    "HOLES_NOT_FILLED": Fault(Effect.NOTE, "There was no memory to fill holes with. The volume is whole without; its holes are empty."),
    "VOLUME_NOT_SAVED": Fault(Effect.NOTE, "The volume could not be saved. Free some space; it can be rebuilt from the recording."),
    "MALFORMED_FRAMES": Fault(Effect.NOTE, "The probe sends damaged images. They were not used; check the cable."),
    "RECONSTRUCTOR_BEHIND": Fault(Effect.NOTE, "Images arrive faster than they can be placed. Some are missing from the live volume."),
    "RECORDER_OVERFLOW": Fault(Effect.STOP_RECORDING, "The storage is too slow. The recording ended; the live view goes on."),
    "DISK_FULL": Fault(Effect.STOP_RECORDING, "The storage is full. The recording ended; free some space."),
    "DISK_NEARLY_FULL": Fault(Effect.NOTE, "The storage is nearly full. Export sweeps and delete old ones before the next sweep."),
    "STORAGE_FAILED": Fault(Effect.STOP_RECORDING, "The storage does not answer as it should. The recording ended; call service."),
    "GPU_MISSING": Fault(
        Effect.NOTE, "The graphics processor does not answer. Sweeps are recorded; the live volume begins once it does. Restart the device."
    ),
    "GPU_UNUSED": Fault(
        Effect.NOTE, "The graphics processor is not used: the live volume is slower. Restart the device, else call service."
    ),
    "ENGINE_MISSING": Fault(
        Effect.NOTE, "The motion network is not prepared for this device. Sweeps are recorded; restart the device, else call service."
    ),
    "RECONSTRUCTION_REFUSED": Fault(
        Effect.NOTE, "The live volume cannot begin as the device is set up. Sweeps are recorded; call service."
    ),
    "BRIDGE_GONE": Fault(Effect.NOTE, "The connection to the probe stopped and is being restarted."),
    "RECONSTRUCTOR_GONE": Fault(Effect.NOTE, "The live volume stopped and is being restarted. The recording goes on."),
    "TABLET_GONE": Fault(Effect.NOTE, "The tablet page stopped and is being restarted. The sweep and its recording go on."),
    "SWEEP_NOT_NOTED": Fault(Effect.NOTE, "The sweep could not be entered in the list. Its recording is safe; check the storage."),
    "SWEEP_HALF_HEARD": Fault(Effect.NOTE, "Part of the sweep was not heard. Its volume is shown as saved; its drift is not known."),
    "REBUILD_FAILED": Fault(Effect.NOTE, "The volume could not be rebuilt. What was saved before stays; try again."),
    "DEVICE_HOT": Fault(Effect.NOTE, "The device is very hot. Let it cool; fewer live images are shown, and all are recorded."),
    "DEVICE_THROTTLED": Fault(Effect.NOTE, "The device slows itself down because of heat. Let it cool before the next sweep."),
    "BATTERY_LOW": Fault(Effect.NOTE, "The battery is nearly empty. End the sweep and connect the charger."),
    "BATTERY_EMPTY": Fault(Effect.STOP_RECORDING, "The battery is empty. The recording was closed and is safe; connect the charger."),
    "CLOCK_WRONG": Fault(Effect.NOTE, "The date of the device is wrong. Set its clock; until then sweeps are kept under a wrong date."),
    "CLOCK_JUMPED": Fault(Effect.NOTE, "The clock of the device was changed. Earlier sweeps may be kept under a wrong date."),
    "ENGINE_BUILDING": Fault(Effect.NOTE, "The device prepares itself for its first use. This takes minutes; wait with the first sweep."),
    "MESSAGES_MISSED": Fault(
        Effect.NOTE, "The device was too slow to show all of the live volume. The saved volume is whole: open the sweep from the list."
    ),
    "RECORDER_GONE": Fault(Effect.NOTE, "The recording stopped and is being restarted. Images wait for it."),
}
