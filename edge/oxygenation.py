"""How much of the blood's haemoglobin carries oxygen, from photoacoustic volumes of two or more wavelengths: linear unmixing.

A signal of wavelength w is taken as fluence(w) * (oxy(w) * [HbO2] + deoxy(w) * [Hb]), with the tabulated molar extinction of both.
Each voxel is solved for the two concentrations by least squares that cannot be negative; the saturation is [HbO2] / ([HbO2] + [Hb]).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.compounding import FILLED, INTERPOLATED, MEASURED
from edge.errors import SonosweepError
from edge.files.volumes import Volume
from edge.files.voxel_grid import first_voxel, on_box

# Molar extinction in 1/cm per mol/l of oxygenated and deoxygenated haemoglobin, every 2 nm from 680 to 1000 nm: "Tabulated Molar Extinction
# Coefficient for Hemoglobin in Water", compiled by S. Prahl, Oregon Medical Laser Center, from data of W. B. Gratzer (Med. Res. Council
# Labs, Holly Hill, London) and N. Kollias (Wellman Laboratories, Harvard Medical School, Boston): https://omlc.org/spectra/hemoglobin/summary.html
SOURCE = "Prahl (Gratzer, Kollias), omlc.org/spectra/hemoglobin/summary.html, 2 nm steps, linear between"
FIRST_NM, STEP_NM = 680.0, 2.0
EXTINCTION = np.array([
    (277.6, 2407.92), (276, 2334.68), (274.4, 2261.48), (272.8, 2188.24), (274.4, 2115), (276, 2051.96), (277.6, 2000.48),
    (279.2, 1949.04), (282, 1897.56), (286, 1846.08), (290, 1794.28), (294, 1741), (298, 1687.76), (302.8, 1634.48), (308.4, 1583.52),
    (314, 1540.48), (319.6, 1497.4), (325.2, 1454.36), (332, 1411.32), (340, 1368.28), (348, 1325.88), (356, 1285.16), (364, 1244.44),
    (372.4, 1203.68), (381.2, 1152.8), (390, 1102.2), (398.8, 1102.2), (407.6, 1102.2), (418.8, 1101.76), (432.4, 1100.48), (446, 1115.88),
    (459.6, 1161.64), (473.2, 1207.4), (487.6, 1266.04), (502.8, 1333.24), (518, 1405.24), (533.2, 1515.32), (548.4, 1541.76),
    (562, 1560.48), (574, 1560.48), (586, 1548.52), (598, 1508.44), (610, 1459.56), (622.8, 1410.52), (636.4, 1361.32), (650, 1311.88),
    (663.6, 1262.44), (677.2, 1213), (689.2, 1163.56), (699.6, 1114.8), (710, 1075.44), (720.4, 1036.08), (730.8, 996.72), (740, 957.36),
    (748, 921.8), (756, 890.8), (764, 859.8), (772, 828.8), (786.4, 802.96), (807.2, 782.36), (816, 761.72), (828, 743.84), (836, 737.08),
    (844, 730.28), (856, 723.52), (864, 717.08), (872, 711.84), (880, 706.6), (887.2, 701.32), (901.6, 696.08), (916, 693.76),
    (930.4, 693.6), (944.8, 693.48), (956.4, 693.32), (965.2, 693.2), (974, 693.04), (982.8, 692.92), (991.6, 692.76), (1001.2, 692.64),
    (1011.6, 692.48), (1022, 692.36), (1032.4, 692.2), (1042.8, 691.96), (1050, 691.76), (1054, 691.52), (1058, 691.32), (1062, 691.08),
    (1066, 690.88), (1072.8, 690.64), (1082.4, 692.44), (1092, 694.32), (1101.6, 696.2), (1111.2, 698.04), (1118.4, 699.92),
    (1123.2, 701.8), (1128, 705.84), (1132.8, 709.96), (1137.6, 714.08), (1142.8, 718.2), (1148.4, 722.32), (1154, 726.44),
    (1159.6, 729.84), (1165.2, 733.2), (1170, 736.6), (1174, 739.96), (1178, 743.6), (1182, 747.24), (1186, 750.88), (1190, 754.52),
    (1194, 758.16), (1198, 761.84), (1202, 765.04), (1206, 767.44), (1209.2, 769.8), (1211.6, 772.16), (1214, 774.56), (1216.4, 776.92),
    (1218.8, 778.4), (1220.8, 778.04), (1222.4, 777.72), (1224, 777.36), (1225.6, 777.04), (1227.2, 776.64), (1226.8, 772.36),
    (1224.4, 768.08), (1222, 763.84), (1219.6, 752.28), (1217.2, 737.56), (1215.6, 722.88), (1214.8, 708.16), (1214, 693.44),
    (1213.2, 678.72), (1212.4, 660.52), (1210.4, 641.08), (1207.2, 621.64), (1204, 602.24), (1200.8, 583.4), (1197.6, 568.92),
    (1194, 554.48), (1190, 540.04), (1186, 525.56), (1182, 511.12), (1178, 495.36), (1173.2, 473.32), (1167.6, 451.32), (1162, 429.32),
    (1156.4, 415.28), (1150.8, 402.28), (1144, 389.288), (1136, 374.944), (1128, 359.656), (1120, 344.372), (1112, 329.084),
    (1102.4, 313.796), (1091.2, 298.508), (1080, 283.22), (1068.8, 267.932), (1057.6, 252.648), (1046.4, 237.36), (1035.2, 222.072),
    (1024, 206.784),
])  # fmt: skip
LAST_NM = FIRST_NM + STEP_NM * (len(EXTINCTION) - 1)
THRESHOLD = 30  # grey values: below it a voxel is noise or tissue and gets no saturation
EDGE_SHARE = 0.75  # of the brightest neighbour: below it a voxel is half outside its vessel, and its wavelengths rarely agree
WHITE = 255  # the brightest sample: what was brighter was cut to it, and how it compares with other wavelengths is lost
MOST_ROUNDING = 5.0  # points: a voxel whose saturation the rounding of its grey values may move further gets none
WORST_CONDITION = 30.0  # of the extinctions: above it noise of one percent moves the saturation by tens of points
CAVEAT = "Estimate, not for diagnosis: light loses strength and changes colour on its way down, which biases the values with depth."
ONE_RECONSTRUCTION = ("sweep", "motion", "direction", "frames", "frames_placed", "beam_origin_mm", "beam_axis")
Floats = NDArray[np.float64]


class BadWavelengths(SonosweepError):
    """The wavelengths of the volumes cannot tell oxygenated from deoxygenated blood."""


class VolumesApart(SonosweepError):
    """Volumes of different sweeps, motions or grids cannot be unmixed together."""


class DepthUnknown(SonosweepError):
    """A volume does not tell where its beams begin and point, so that fluence cannot be corrected by depth."""


@dataclass(frozen=True)
class Settings:
    """``threshold``: grey values that a voxel must exceed at every wavelength. ``edge_share``: and this share of its brightest
    neighbour (of 27), so that voxels on the walls of vessels get no value; 0 keeps them.

    ``mu_eff_per_mm``: effective attenuation of the tissue by wavelength (nm); signals are multiplied by exp(mu_eff * depth). Depth is
    along the beams of the first image, from ``surface_mm`` below its first row on. Empty: no correction.
    """

    threshold: float = THRESHOLD
    edge_share: float = EDGE_SHARE
    mu_eff_per_mm: Mapping[float, float] | None = None
    surface_mm: float = 0.0


def extinction(wavelength_nm: float) -> Floats:
    """Of oxygenated and deoxygenated haemoglobin [2] in 1/cm per mol/l. ``BadWavelengths`` outside the table."""
    if not FIRST_NM <= wavelength_nm <= LAST_NM:
        raise BadWavelengths(f"{wavelength_nm:g} nm is outside the table; saturation needs wavelengths from {FIRST_NM:g} to {LAST_NM:g} nm")
    table_nm = FIRST_NM + STEP_NM * np.arange(len(EXTINCTION))
    return np.array([np.interp(wavelength_nm, table_nm, column) for column in EXTINCTION.T])


def extinctions(wavelengths_nm: Sequence[float]) -> Floats:
    """[wavelengths, 2]; ``BadWavelengths`` where they are too few or too alike."""
    matrix = np.array([extinction(nm) for nm in wavelengths_nm]).reshape(-1, 2)
    told = ", ".join(f"{nm:g}" for nm in wavelengths_nm)
    if len(set(wavelengths_nm)) < 2:
        raise BadWavelengths(f"two different wavelengths are needed, got {told or 'none'} nm; give the volume of another wavelength too")
    if np.linalg.cond(matrix) > WORST_CONDITION:
        raise BadWavelengths(f"at {told} nm both kinds of blood look alike; choose one near 760 nm and one above 830 nm")
    return matrix


def unmix(signals: Floats, matrix: Floats) -> Floats:
    """Concentrations [2, voxels], none negative, that explain ``signals`` [wavelengths, voxels] best by ``matrix`` [wavelengths, 2].

    With two unknowns the constrained optimum is the free one, or else the better of the two with one unknown at zero.
    """
    free = np.linalg.lstsq(matrix, signals, rcond=None)[0]
    alone = np.maximum(matrix.T @ signals, 0) / (matrix**2).sum(0)[:, None]
    gain = alone * (matrix.T @ signals)  # by how much each alone lowers the sum of squares
    best = np.where(np.arange(2)[:, None] == np.argmax(gain, axis=0), alone, 0.0)
    return np.where((free >= 0).all(0), free, best)


def rounding_points(concentrations: Floats, rounded: Floats, matrix: Floats) -> Floats:
    """By how many points each voxel's saturation [voxels] moves at most where its signals are off by ``rounded`` [wavelengths, voxels]."""
    total = np.maximum(concentrations.sum(0), 1e-30)
    share, (oxy, deoxy) = concentrations[0] / total, np.linalg.pinv(matrix)[:, :, None]
    return np.asarray(100 * (np.abs((1 - share) * oxy - share * deoxy) * rounded).sum(0) / total)


def oxygen_saturation(volumes: Sequence[Volume], settings: Settings = Settings()) -> Volume:
    """Percent of oxygen saturation, uint8 0..100, on the box that all volumes share; state 0 where there is none.

    The wavelength of each volume stands in its metadata. Samples must be linear in the signal (no log compression), of one pulse
    energy. Hole-filled voxels get none: nobody measured them; nor those whose grey values are too coarse for their wavelengths,
    nor those that are white at one of them: their light was cut.
    """
    wavelengths_nm = [_wavelength(volume) for volume in volumes]
    matrix = extinctions(wavelengths_nm)
    check_one_sweep(volumes)
    grey, states, origin_mm = shared_box(volumes)
    brightest = shared_box([replace(volume, intensity=brightest_neighbour(volume.intensity)) for volume in volumes])[0]
    within = (grey >= settings.edge_share * brightest).all(0)
    seen: NDArray[np.bool_] = np.asarray(
        within & (grey > settings.threshold).all(0) & (grey < WHITE).all(0) & np.isin(states, (MEASURED, INTERPOLATED)).all(0)
    )
    signals = grey[:, seen].astype(np.float64)
    rounded = np.full_like(signals, 0.5)
    step = volumes[0].spacing_mm
    if settings.mu_eff_per_mm:
        begin_mm, axis = (_three(volumes[0], key) for key in ("beam_origin_mm", "beam_axis"))
        points_mm = np.array(origin_mm) + step * np.stack(np.nonzero(seen)[::-1], axis=1)
        depth_mm = np.maximum((points_mm - begin_mm) @ axis - settings.surface_mm, 0)
        lost = np.exp(np.outer([_mu_eff(settings.mu_eff_per_mm, nm) for nm in wavelengths_nm], depth_mm))
        signals, rounded = signals * lost, rounded * lost
    found = unmix(signals, matrix)
    sure = rounding_points(found, rounded, matrix) <= MOST_ROUNDING
    seen[seen] = sure
    oxy, deoxy = found[:, sure]
    percent, state = np.zeros(seen.shape, np.uint8), np.zeros(seen.shape, np.uint8)
    percent[seen] = np.rint(100 * oxy / np.maximum(oxy + deoxy, 1e-30)).astype(np.uint8)
    state[seen] = np.where((states[:, seen] == MEASURED).all(0), MEASURED, INTERPOLATED)
    assert FILLED not in state
    return Volume(percent, origin_mm, step, _metadata(volumes, wavelengths_nm, settings, int(seen.sum())), state)


def check_one_sweep(volumes: Sequence[Volume]) -> None:
    """``VolumesApart`` unless all come from one reconstruction of one sweep: only then is a voxel the same place in each.

    Every volume's grid is anchored at its own Reference, so the grids alone cannot tell.
    """
    for volume in volumes:
        for key in ONE_RECONSTRUCTION:
            ours, theirs = (one.metadata.get(key, "") for one in (volumes[0], volume))
            if ours != theirs:
                raise VolumesApart(
                    f"the volumes come from different reconstructions ({key}: {ours or 'not told'}, {theirs or 'not told'}); "
                    "give those that one `sonosweep reconstruct` wrote"
                )
        if not volume.metadata.get("sweep"):
            raise VolumesApart("a volume does not tell its sweep; make the volumes again by one `sonosweep reconstruct`")


def shared_box(volumes: Sequence[Volume]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[float, float, float]]:
    """Grey values and states [volumes, k, j, i] where all volumes overlap, and the centre of the first voxel. ``VolumesApart``."""
    step = volumes[0].spacing_mm
    firsts = [first_voxel(volume) for volume in volumes]
    apart = [np.abs(np.array(volume.origin_mm) / step - first).max() for volume, first in zip(volumes, firsts, strict=True)]
    if any(volume.spacing_mm != step for volume in volumes) or max(apart) > 0.01:
        raise VolumesApart("the volumes have different voxels; make them from one sweep with one spacing_mm")
    low = np.max(firsts, axis=0)
    size = np.min([at + volume.intensity.shape[::-1] for at, volume in zip(firsts, volumes, strict=True)], axis=0) - low
    if (size <= 0).any():
        raise VolumesApart("the volumes do not overlap; give volumes of one sweep")
    states = [volume.state if volume.state.size else (volume.intensity > 0).astype(np.uint8) for volume in volumes]
    x, y, z = (low * step).tolist()
    grey = [on_box(volume.intensity, at, low, size) for at, volume in zip(firsts, volumes, strict=True)]
    return np.array(grey), np.array([on_box(state, at, low, size) for at, state in zip(firsts, states, strict=True)]), (x, y, z)


def brightest_neighbour(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The maximum of each voxel's cube of 27."""
    most = grey
    for axis in range(3):
        padded = np.pad(most, [(1, 1) if one == axis else (0, 0) for one in range(3)])
        low, middle, high = (np.take(padded, range(at, at + grey.shape[axis]), axis) for at in range(3))
        most = np.maximum(np.maximum(low, middle), high)
    return most


def _wavelength(volume: Volume) -> float:
    told = volume.metadata.get("wavelength_nm", "")
    try:
        return float(told)
    except ValueError as wrong:
        name = volume.metadata.get("channel", "a volume")
        raise BadWavelengths(f"{name} does not tell its wavelength_nm; give the photoacoustic volumes of a probe that tells it") from wrong


def _three(volume: Volume, key: str) -> Floats:
    told = volume.metadata.get(key, "")
    try:
        values = np.array(told.split(), np.float64)
    except ValueError:
        values = np.zeros(0)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise DepthUnknown(f"a volume's {key} is {told!r} and not x y z; make the volumes again, or leave --mu-eff-per-mm out")
    return values


def _mu_eff(of: Mapping[float, float], wavelength_nm: float) -> float:
    if wavelength_nm not in of:
        raise BadWavelengths(f"no mu_eff is given for {wavelength_nm:g} nm; state it for every wavelength or for none")
    return of[wavelength_nm]


def _metadata(volumes: Sequence[Volume], wavelengths_nm: Sequence[float], settings: Settings, voxels: int) -> dict[str, str]:
    first = {key: value for key, value in volumes[0].metadata.items() if not key.startswith("voxels_")}
    common = {key: value for key, value in first.items() if all(volume.metadata.get(key) == value for volume in volumes)}
    fluence = "not corrected"
    if settings.mu_eff_per_mm:
        told = ", ".join(f"{nm:g} nm {settings.mu_eff_per_mm[nm]:g}/mm" for nm in wavelengths_nm)
        fluence = f"corrected by exp(mu_eff * depth), mu_eff {told}, depth along the beams from {settings.surface_mm:g} mm"
    return common | {
        "channel": "oxygen-saturation",
        "unit": "percent; 0 with state 0 is no value",
        "wavelengths_nm": " ".join(f"{nm:g}" for nm in wavelengths_nm),
        "method": "linear unmixing of HbO2 and Hb, non-negative least squares per voxel",
        "extinction": SOURCE,
        "fluence": fluence,
        "threshold_grey": f"{settings.threshold:g} < grey < {WHITE} at each wavelength; {settings.edge_share:g} of the brightest neighbour",
        "rounding_points": f"at most {MOST_ROUNDING:g}",
        "voxels_with_a_value": str(voxels),
        "caveat": CAVEAT,
    }
