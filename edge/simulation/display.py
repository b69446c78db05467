"""Log compression: echo power in dB to the grey values of an ultrasound image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Display:
    """Grey 255 at ``-gain_db``, grey 0 ``dynamic_range_db`` below it; straight in dB between the two."""

    dynamic_range_db: float = 60.0
    gain_db: float = 0.0

    def grey(self, echo_db: Floats) -> Floats:
        """Echo power in dB [...] to grey values 0..255, float32 [...], not rounded."""
        return np.asarray(np.clip((echo_db + (self.gain_db + self.dynamic_range_db)) * (255 / self.dynamic_range_db), 0, 255))

    def shown(self, power: Floats) -> Floats:
        """Echo power, linear and not negative [...], to grey values 0..255, float32 [...], not rounded."""
        floor = 10 ** (-(self.gain_db + self.dynamic_range_db + 10) / 10)  # black, so that log10 never sees 0
        return self.grey(10 * np.log10(np.maximum(power, floor)))

    def pixels(self, power: Floats) -> NDArray[np.uint8]:
        """Echo power, linear and not negative [...], to uint8 pixels [...]."""
        return rounded(self.shown(power))


def rounded(grey: Floats) -> NDArray[np.uint8]:
    """Grey values 0..255 to the nearest uint8, halves upwards."""
    return (grey + 0.5).astype(np.uint8)
