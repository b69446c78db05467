"""The photoacoustic frames of a sweep: a channel of the volume for each wavelength, and samples brought to one pulse energy.

Channels are numbered in the order in which the wavelengths appear, and named after them: ``photoacoustic-850nm``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from edge.compounding import CHANNEL_COUNT
from edge.errors import SonosweepError
from edge.messages import Frame

ULTRASOUND, PHOTOACOUSTIC = "ultrasound", "photoacoustic"
PHOTOACOUSTIC_NAME = re.compile(rf"{PHOTOACOUSTIC}(?:-(\d+)nm)?")


PLAUSIBLE = 100.0  # times more or less than the energy that all are brought to: beyond it a told energy is a mistake


class BadPulseEnergy(SonosweepError):
    """The pulse energy that samples are to be scaled to is none."""


def channel_name(frame: Frame) -> str:
    """``ultrasound``, ``photoacoustic-850nm``, or ``photoacoustic`` where the probe does not tell the wavelength."""
    if frame.modality == "bmode":
        return ULTRASOUND
    return f"{PHOTOACOUSTIC}-{frame.wavelength_nm:.0f}nm" if frame.wavelength_nm else PHOTOACOUSTIC


def photoacoustic(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are photoacoustic channels, in their order."""
    return [name for name in names if PHOTOACOUSTIC_NAME.fullmatch(name)]


def wavelength_nm(name: str) -> int:
    """Of a photoacoustic channel's name; 0 where it tells none."""
    told = PHOTOACOUSTIC_NAME.fullmatch(name)
    return int(told[1] or 0) if told else 0


class Light:
    """What is known of the channels of one sweep. ``pulse_energy_mj`` 0 leaves samples as they are.

    Otherwise a frame that tells its laser's energy is scaled to this one: a sample of half the energy counts twice. A frame that
    does not tell, or tells less than a hundredth or more than a hundred times of it, is left as it is, and counted.
    """

    def __init__(self, pulse_energy_mj: float = 0.0) -> None:
        if not (math.isfinite(pulse_energy_mj) and pulse_energy_mj >= 0):
            raise BadPulseEnergy(f"a pulse of {pulse_energy_mj:g} mJ is none; give the laser's usual energy, or 0 for samples as they are")
        self.pulse_energy_mj = pulse_energy_mj
        self.names: list[str] = [ULTRASOUND]  # of the channels, by number
        self._refused: set[str] = set()
        self._scaled: dict[str, int] = {}
        self._untold: dict[str, int] = {}

    def channel(self, frame: Frame) -> int | None:
        """The number of the frame's channel; None where the volume has none left for its wavelength."""
        name = channel_name(frame)
        if name not in self.names:
            if len(self.names) == CHANNEL_COUNT:
                return None
            self.names.append(name)
        return self.names.index(name)

    def refuse(self, frame: Frame) -> bool:
        """No channel is left for the frame: whether this is its wavelength's first time."""
        seen = len(self._refused)
        self._refused.add(channel_name(frame))
        return len(self._refused) > seen

    def sample_range(self, frame: Frame) -> tuple[float, float]:
        """Which samples are black and white, at the pulse energy that all are brought to."""
        black, white = frame.sample_range
        if frame.modality == "bmode" or not self.pulse_energy_mj:
            return black, white
        share, name = (frame.extras.laser_energy_mj or 0.0) / self.pulse_energy_mj, channel_name(frame)
        told = 1 / PLAUSIBLE <= share <= PLAUSIBLE
        counts = self._scaled if told else self._untold
        counts[name] = counts.get(name, 0) + 1
        return (black, black + (white - black) * share) if told else (black, white)

    def metadata(self) -> Mapping[str, Mapping[str, str]]:
        """What each channel's volume says of its light, by channel name."""
        return {name: self._of(number, name) for number, name in enumerate(self.names)}

    def _of(self, number: int, name: str) -> dict[str, str]:
        told = {"channel_number": str(number)}
        if not (light := PHOTOACOUSTIC_NAME.fullmatch(name)):
            return told
        if light[1]:
            told["wavelength_nm"] = light[1]
        told["pulse_energy_normalisation"] = "off"
        if self.pulse_energy_mj:
            told["pulse_energy_normalisation"] = f"to {self.pulse_energy_mj:g} mJ"
            told["frames_of_told_energy"] = str(self._scaled.get(name, 0))
            told["frames_of_untold_energy"] = str(self._untold.get(name, 0))
        return told
