"""A simulated sweep: a phantom seen along a freehand path, frame by frame, with speckle, noise and true poses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.messages import Geometry
from edge.simulation.blood import PULSE_ENERGY_MJ, VesselPhantom, pulse_energy_mj, received
from edge.simulation.display import Display, Floats, rounded
from edge.simulation.phantom import Phantom
from edge.simulation.speckle import PointSpread, SpeckleField
from edge.simulation.trajectory import Freehand, freehand_path
from edge.transform import Transform

Modality = Literal["bmode", "photoacoustic"]
PHOTOACOUSTIC_NOISE_DB = -36.0
AHEAD = 4
REMEMBERED = 4  # images in the scanner's memory
SCANNER_PERSISTENCE = 0.4  # of a usual scanner's B-mode


class BadSimulation(SonosweepError):
    """The settings of a simulated sweep contradict themselves."""


@dataclass(frozen=True)
class Convex:
    """A curved probe: beams (columns) over angles, samples (rows) over radii. Angle 0 looks straight down, + is lateral."""

    angle_start_deg: float = -30.0
    angle_stop_deg: float = 30.0
    radius_start_mm: float = 20.0
    radius_stop_mm: float = 60.0

    def polar_mm(self, beams: int, samples: int) -> NDArray[np.float64]:
        """Where each sample lies in the image plane, [samples, beams, 2] = (lateral, axial) mm from the apex of the sector."""
        angle = np.deg2rad(np.linspace(self.angle_start_deg, self.angle_stop_deg, beams))
        radius = np.linspace(self.radius_start_mm, self.radius_stop_mm, samples)[:, None]
        return np.stack([radius * np.sin(angle), radius * np.cos(angle)], -1)

    def image_grid(self, spacing_mm: float) -> tuple[int, int, float, float]:
        """The scan-converted image that poses speak of: width, height in pixels; lateral, axial mm of its first pixel's centre.

        From the apex; symmetric about the axis, an odd number of columns, as edge/compounding/scan_conversion.py makes it.
        """
        start, stop = np.deg2rad([self.angle_start_deg, self.angle_stop_deg])
        widest, narrowest = max(abs(start), abs(stop)), 0.0 if start <= 0 <= stop else min(abs(start), abs(stop))
        top_mm = float(self.radius_start_mm * np.cos(widest))
        columns = int(np.floor(self.radius_stop_mm * np.sin(widest) / spacing_mm + 1e-9))
        rows = int(np.floor((self.radius_stop_mm * np.cos(narrowest) - top_mm) / spacing_mm + 1e-9))
        return 2 * columns + 1, rows + 1, -columns * spacing_mm, top_mm


@dataclass(frozen=True)
class SimulationSettings:
    """What to simulate. ``image_size`` is (lateral, axial) in pixels, or (beams, samples) of a convex probe."""

    frames: int = 150
    frames_per_s: float = 30.0
    image_size: tuple[int, int] = (320, 384)
    spacing_mm: tuple[float, float] = (0.125, 0.125)  # lateral, axial; of a convex probe: of the scan-converted image
    hand: Freehand = field(default_factory=Freehand)
    spread: PointSpread = field(default_factory=PointSpread)
    looks: int = 2  # independent speckle patterns averaged, as compounding scanners do
    speckle: bool = True  # False: the known truth on the same grey scale, and no noise
    persistence: float = 0.0  # share of the B-mode images before in each one (SCANNER_PERSISTENCE: as scanners average)
    noise_db: float = -58.0  # noise of the receiver, new in every frame; rises with depth by 0.1 dB per mm
    display: Display = field(default_factory=lambda: Display(60, 3))
    photoacoustic: bool = False  # every second frame is photoacoustic
    wavelengths_nm: tuple[float, ...] = ()  # of these in turn; then there are vessels of known saturation, and samples are linear
    mu_eff_per_mm: tuple[float, ...] = ()  # of the tissue at each of them; none: light loses nothing on its way
    convex: Convex | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.image_size) < 2:
            raise BadSimulation(f"an image of {self.image_size} pixels shows nothing; give at least 2 x 2")
        if self.convex and self.spacing_mm[0] != self.spacing_mm[1]:
            raise BadSimulation(f"a convex probe's image has square pixels; {self.spacing_mm} mm are not")
        if not 0 <= self.persistence < 1:
            raise BadSimulation(f"a persistence of {self.persistence} is none; give 0 (each image is new) to below 1")
        if self.mu_eff_per_mm and len(self.mu_eff_per_mm) != len(self.wavelengths_nm):
            raise BadSimulation(f"{len(self.mu_eff_per_mm)} mu_eff for {len(self.wavelengths_nm)} wavelengths; give one for each")
        if self.seed < 0:
            raise BadSimulation(f"a seed counts from 0; {self.seed} is none")
        if self.convex and not (
            self.convex.angle_start_deg < self.convex.angle_stop_deg and 0 < self.convex.radius_start_mm < self.convex.radius_stop_mm
        ):
            raise BadSimulation(f"the sector {self.convex} is empty; start must be below stop, and the radii above 0")


@dataclass(frozen=True)
class SimulatedFrame:
    """One image and where it lies."""

    index: int
    modality: Modality
    timestamp_ns: int  # from the start of the sweep
    pixels: NDArray[np.uint8]  # [axial, lateral], or [samples, beams]
    image_to_reference: Transform
    wavelength_nm: float = 0.0  # photoacoustic, where the laser's is set
    laser_energy_mj: float | None = None


class SimulatedSweep:
    """A sweep whose frames are computed when they are asked for: any order, any number of times, always the same bytes.

    Iterate over it, or ask for ``sweep[index]``. ``poses`` are ImageToReference of the (scan-converted) image.
    """

    def __init__(self, settings: SimulationSettings) -> None:
        self.settings = settings
        self.spacing_mm = settings.spacing_mm
        width, height = settings.image_size
        if settings.convex:
            width, height, _, _ = settings.convex.image_grid(self.spacing_mm[0])
        self.converted_size = width, height  # pixels of the image that poses speak of
        self.poses = freehand_path(settings.frames, settings.frames_per_s, (width, height), self.spacing_mm, settings.hand, settings.seed)
        length_mm = settings.hand.step_mm * max(settings.frames - 1, 1) or 1.0
        size_mm = width * self.spacing_mm[0], height * self.spacing_mm[1], length_mm
        self.phantom = _phantom(size_mm, settings)
        self._image = lru_cache(2 * REMEMBERED + AHEAD)(self._new_image)

    @property
    def geometry(self) -> Geometry:
        """How the pixels of a frame lie in the image plane, as a front end says it on the wire."""
        width, height = self.settings.image_size
        convex = self.settings.convex
        if not convex:
            return Geometry(width=width, height=height, spacing_mm=self.spacing_mm, depth_mm=(height - 1) * self.spacing_mm[1])
        return Geometry(
            kind="convex",
            width=width,
            height=height,
            spacing_mm=self.spacing_mm,
            depth_mm=convex.radius_stop_mm - convex.radius_start_mm,
            radius_start_mm=convex.radius_start_mm,
            radius_stop_mm=convex.radius_stop_mm,
            angle_start_deg=convex.angle_start_deg,
            angle_stop_deg=convex.angle_stop_deg,
        )

    def __len__(self) -> int:
        return self.settings.frames

    def __iter__(self) -> Iterator[SimulatedFrame]:
        """Every frame in order. Two are computed at a time, and at most ``AHEAD`` wait to be taken."""
        self._prepare()
        with ThreadPoolExecutor(2) as pool:
            waiting: deque[Future[Floats]] = deque()
            for index in range(len(self) + AHEAD):
                if index < len(self):
                    waiting.append(pool.submit(self._image, index))
                if index >= AHEAD:
                    waiting.popleft().result()
                    yield self[index - AHEAD]

    def __getitem__(self, index: int) -> SimulatedFrame:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a sweep of {len(self)} frames")
        modality = self._modality(index)
        image = self._remembered(index) if modality == "bmode" else self._image(index)
        timestamp_ns = round(index * 1e9 / self.settings.frames_per_s)
        nm = self._wavelength_nm(index)
        energy_mj = self._energy_mj(index) if nm else None
        return SimulatedFrame(index, modality, timestamp_ns, rounded(image), self.poses[index], nm, energy_mj)

    def points_mm(self, index: int) -> NDArray[np.float32]:
        """Where the pixels of a frame lie in Reference, mm: [axial, lateral, 3], or [samples, beams, 3]."""
        matrix = self.poses[index].matrix
        points = self._plane @ matrix[:3, :2].T.astype(np.float32) + matrix[:3, 3].astype(np.float32)
        return np.asarray(points, np.float32)

    def truth(self, points_mm: NDArray[np.floating]) -> Floats:
        """What a perfect volume holds at points [..., 3] in Reference mm, on this sweep's grey scale: float32 0..255 [...]."""
        return self.phantom.grey(points_mm, self.settings.display)

    @cached_property
    def _plane(self) -> NDArray[np.float32]:
        """Pixel indices (column, row) in the image that poses speak of, of each pixel that a frame has."""
        columns, rows = self.settings.image_size
        if self.settings.convex:
            _, _, left, top = self.settings.convex.image_grid(self.spacing_mm[0])
            plane_mm = self.settings.convex.polar_mm(columns, rows) - (left, top)
            return (plane_mm / self.spacing_mm).astype(np.float32)
        return np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).astype(np.float32)

    @cached_property
    def _field(self) -> SpeckleField:
        return SpeckleField(self.settings.spread, self.settings.seed, self.settings.looks)

    def _prepare(self) -> None:
        """Build what all frames share, before threads ask for it at once."""
        _ = self._plane
        if self.settings.speckle:
            _ = self._field

    def _modality(self, index: int) -> Modality:
        return "photoacoustic" if (self.settings.photoacoustic or self.settings.wavelengths_nm) and index % 2 else "bmode"

    def _wavelength_nm(self, index: int) -> float:
        """0 of B-mode, and of light without a set wavelength."""
        wavelengths_nm = self.settings.wavelengths_nm
        return wavelengths_nm[index // 2 % len(wavelengths_nm)] if wavelengths_nm and index % 2 else 0.0

    def _energy_mj(self, index: int) -> float:
        """Of the laser; the known truth has the same pulse in every frame."""
        return pulse_energy_mj(self.settings.seed, index) if self.settings.speckle else PULSE_ENERGY_MJ

    def _remembered(self, index: int) -> Floats:
        """The B-mode image that the scanner shows: it keeps a share of those before, the first having stood there for long."""
        share, apart = self.settings.persistence, 2 if self.settings.photoacoustic or self.settings.wavelengths_nm else 1
        if not share or not self.settings.speckle:
            return self._image(index)
        weights = share ** np.arange(REMEMBERED, dtype=np.float32)
        weights /= weights.sum()
        return np.asarray(sum(weight * self._image(max(index - back * apart, 0)) for back, weight in enumerate(weights)))

    def _new_image(self, index: int) -> Floats:
        """Grey values 0..255 of a frame without memory, float32, not rounded."""
        points_mm = self.points_mm(index)
        return self._b_mode(points_mm, index) if self._modality(index) == "bmode" else self._photoacoustic(points_mm, index)

    def _b_mode(self, points_mm: NDArray[np.float32], index: int) -> Floats:
        display = self.settings.display
        if not self.settings.speckle:
            return self.phantom.grey(points_mm, display)
        power = self.phantom.echogenicity(points_mm) * self._field.power(points_mm)
        return display.shown(power + self._noise(points_mm, index, self.settings.noise_db, 0.1))

    def _photoacoustic(self, points_mm: NDArray[np.float32], index: int) -> Floats:
        if isinstance(self.phantom, VesselPhantom):
            signal = self.phantom.signal(points_mm, self._wavelength_nm(index))
            if not self.settings.speckle:
                return np.asarray(np.clip(255 * signal, 0, 255))
            return received(signal, self._energy_mj(index), np.random.default_rng([self.settings.seed, 0x2015E, index]))
        display = Display(40, 0)
        if not self.settings.speckle:
            return display.grey(self.phantom.absorption_db(points_mm))
        power = self.phantom.absorption(points_mm)
        return display.shown(power + self._noise(points_mm, index, PHOTOACOUSTIC_NOISE_DB, 0.0))

    def _noise(self, points_mm: NDArray[np.float32], index: int, level_db: float, db_per_mm: float) -> Floats:
        """Noise power, exponentially distributed, new in every frame and the same whenever that frame is asked for."""
        random = np.random.default_rng([self.settings.seed, 0x2015E, index])
        level = np.exp((level_db + db_per_mm * points_mm[..., 1]) * np.float32(np.log(10) / 10))
        return np.asarray(level * random.standard_exponential(level.shape, np.float32))


def _phantom(size_mm: tuple[float, float, float], settings: SimulationSettings) -> Phantom:
    if not settings.wavelengths_nm:
        return Phantom(size_mm, settings.seed)
    mu_eff_per_mm = dict(zip(settings.wavelengths_nm, settings.mu_eff_per_mm, strict=False))
    return VesselPhantom(size_mm, settings.seed, settings.wavelengths_nm, mu_eff_per_mm)


def simulate_sweep(settings: SimulationSettings | None = None) -> SimulatedSweep:
    """A sweep to iterate over; nothing is computed before the first frame is asked for but its poses."""
    return SimulatedSweep(settings or SimulationSettings())
