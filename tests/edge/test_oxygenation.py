"""Oxygen saturation from photoacoustic volumes: the table, the unmixing, the masks, what the file says, and the command."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from scipy.optimize import nnls

from edge.app import main
from edge.compounding import VolumeSettings, open_compounder
from edge.config import MotionConfig
from edge.files.volumes import Volume, read_volume, write_volume
from edge.motion import open_motion
from edge.oxygenation import (
    BadWavelengths,
    DepthUnknown,
    Settings,
    VolumesApart,
    brightest_neighbour,
    extinction,
    extinctions,
    oxygen_saturation,
    unmix,
)
from edge.reconstructor import Reconstructor
from edge.simulation import SimulationSettings, as_frames, simulate_sweep

ALL = Settings(threshold=0, edge_share=0)
ONE_SWEEP = {"sweep": "1-1-0", "motion": "network: small", "beam_origin_mm": "1 0 0", "beam_axis": "0 1 0"}


def blood(saturation, wavelength_nm):
    oxy, deoxy = extinction(wavelength_nm)
    return saturation * oxy + (1 - saturation) * deoxy


def a_volume(wavelength_nm, grey, origin_mm=(0.0, 0.0, 0.0), state=None, **metadata):
    told = {"channel": f"photoacoustic-{wavelength_nm}nm", "wavelength_nm": str(wavelength_nm), **ONE_SWEEP, **metadata}
    grey = np.asarray(grey, np.uint8)
    return Volume(grey, origin_mm, 0.5, told, np.ones_like(grey) if state is None else state)


def two(saturation, shape=(4, 6, 8), scale=0.15):
    return [a_volume(nm, np.full(shape, np.rint(scale * blood(saturation, nm)))) for nm in (750, 850)]


@pytest.mark.parametrize(
    ("wavelength_nm", "oxy", "deoxy"),
    [
        (680, 277.6, 2407.92), (730, 390, 1102.2), (750, 518, 1405.24), (756, 562, 1560.48), (764, 610, 1459.56), (780, 710, 1075.44),
        (786, 740, 957.36), (800, 816, 761.72), (808, 856, 723.52), (830, 974, 693.04), (850, 1058, 691.32), (904, 1206, 767.44),
        (930, 1222, 763.84), (936, 1215.6, 722.88), (940, 1214, 693.44), (976, 1144, 389.288), (1000, 1024, 206.784),
    ],
)  # fmt: skip
def test_the_table_is_the_one_that_is_cited(wavelength_nm, oxy, deoxy):
    """Rows of Prahl's table as others quote it."""
    assert tuple(extinction(wavelength_nm)) == (oxy, deoxy)


def test_the_table_has_the_shape_of_haemoglobin():
    at_nm = np.arange(680, 1001)
    oxy, deoxy = np.array([extinction(nm) for nm in at_nm]).T
    crossings = at_nm[:-1][np.diff(np.sign(oxy - deoxy)) != 0]
    assert len(crossings) == 1 and crossings[0] == 796, "the isosbestic point of the near infrared, between 796 and 797 nm"
    assert at_nm[np.argmax(deoxy[60:110]) + 60] in (756, 757, 758), "the one peak of deoxygenated blood"
    assert 910 <= at_nm[np.argmax(oxy)] <= 930, "the broad peak of oxygenated blood"
    for column in (oxy, deoxy):
        steps = np.diff(column[::2])
        assert (np.abs(steps) <= 0.08 * column[:-2:2]).all(), "a digit typed wrong is a jump"
    assert np.allclose(extinction(755), (555.2, (1541.76 + 1560.48) / 2)), "linear between its rows"


@pytest.mark.parametrize(
    ("wavelength_nm", "oxy", "deoxy"),
    [(700, 320, 2160), (730, 400, 1500), (750, 520, 1620), (770, 660, 1420), (800, 800, 920), (830, 980, 840), (850, 1060, 800),
     (880, 1160, 840), (910, 1220, 920), (930, 1240, 800)],
)  # fmt: skip
def test_another_laboratory_measured_much_the_same(wavelength_nm, oxy, deoxy):
    """Moaveni 1970 and Schmitt, as Prahl tabulates them (omlc.org/spectra/hemoglobin/moaveni.html), 10 nm steps; two digits."""
    ours = extinction(wavelength_nm)
    assert ours[0] == pytest.approx(oxy, rel=0.1) and ours[1] == pytest.approx(deoxy, rel=0.27)


@pytest.mark.parametrize(
    ("wavelengths", "why"),
    [((679,), "outside"), ((1001, 850), "outside"), ((850,), "two different"), ((850, 850), "two different"), ((850, 855), "look alike")],
)
def test_wavelengths_that_cannot_tell_are_refused_with_a_cure(wavelengths, why):
    with pytest.raises(BadWavelengths, match=why):
        extinctions(wavelengths)


@pytest.mark.parametrize("wavelengths", [(750, 850), (700, 760, 800, 900)])
def test_unmixing_is_the_least_squares_that_cannot_be_negative(wavelengths):
    matrix, random = extinctions(wavelengths), np.random.default_rng(3)
    signals = random.normal(100, 90, (len(wavelengths), 200))
    signals[:, 0], signals[:, 1] = 0, -5
    found = unmix(signals, matrix)
    expected = np.array([nnls(matrix, one)[0] for one in signals.T]).T
    assert np.allclose(found, expected, atol=1e-9) and (found[:, 2:] == 0).any() and (found > 0).all(0).any()


@pytest.mark.parametrize("saturation", [0.0, 0.4, 0.75, 0.98, 1.0])
def test_blood_of_known_saturation_is_found(saturation):
    found = oxygen_saturation(two(saturation), ALL)
    assert (found.state == 1).all() and np.abs(found.intensity.astype(int) - 100 * saturation).max() <= 1


@pytest.mark.parametrize(("wavelengths", "valued"), [((750, 850), True), ((800, 850), False)])
def test_dim_voxels_have_a_value_only_where_their_wavelengths_bear_the_rounding(wavelengths, valued):
    """Grey values from 31 on, off by half a grey value at most: within 5 points, or masked."""
    random, matrix = np.random.default_rng(4), extinctions(wavelengths)
    share = random.uniform(0.4, 1, 1000)
    signals = matrix @ np.array([share, 1 - share])
    signals *= random.uniform(31, 120, 1000) / signals.min(0)
    volumes = [a_volume(nm, np.rint(one).reshape(10, 10, 10)) for nm, one in zip(wavelengths, signals, strict=True)]
    found = oxygen_saturation(volumes, Settings(edge_share=0))
    known = found.state.ravel() > 0
    assert known.mean() == 1 if valued else 0.2 < known.mean() < 0.8
    assert np.abs(found.intensity.ravel() - 100 * share)[known].max() <= 5.5, "and half a point of its own rounding"


def test_a_brighter_neighbour_beyond_the_shared_box_counts():
    one, other = two(0.7, scale=0.1)
    bright = np.pad(one.intensity, ((0, 0), (0, 0), (0, 1)), constant_values=255)
    wider = replace(one, intensity=bright, state=np.ones_like(bright))
    found = oxygen_saturation([wider, other])
    assert (found.state[:, :, -1] == 0).all() and (found.state[:, :, :-1] == 1).all()


def test_only_what_is_bright_at_every_wavelength_not_white_and_not_filled_has_a_value():
    one, other = two(0.7)
    one.intensity[0, 0, 0] = 20
    other.intensity[1, 0, 0] = 20
    other.state[2, 0, 0], other.state[3, 0, 0] = 3, 2
    one.intensity[0, 1, 0] = 255  # or brighter: nobody knows
    found = oxygen_saturation([one, other], Settings(edge_share=0))
    assert [int(found.state[k, 0, 0]) for k in range(4)] == [0, 0, 0, 2]
    assert found.state[0, 1, 0] == 0 and (found.state.ravel() != 1).sum() == 5
    assert (found.intensity[found.state == 0] == 0).all()


def test_the_wall_of_a_vessel_has_no_value():
    grey = np.zeros((3, 9, 9))
    grey[:, 2:7, 2:7], grey[:, 3:6, 3:6] = 80, 150
    found = oxygen_saturation([a_volume(750, grey), a_volume(850, grey)])
    assert (found.state[:, 3:6, 3:6] == 1).all() and found.state.sum() == 3 * 9
    random = np.random.default_rng(1).integers(0, 255, (4, 5, 6), dtype=np.uint8)
    assert all(
        brightest_neighbour(random)[k, j, i] == random[max(k - 1, 0) : k + 2, max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2].max()
        for k, j, i in np.ndindex(4, 5, 6)
    )


def test_light_that_is_lost_with_depth_biases_the_saturation_and_its_correction_mends_that():
    mu_eff = {750.0: 0.10, 850.0: 0.04}
    volumes = []
    for nm in (750, 850):
        depth_mm = 0.5 * np.arange(24)
        grey = 0.2 * blood(0.8, nm) * np.exp(-mu_eff[nm] * depth_mm)
        volumes.append(a_volume(nm, np.tile(np.rint(grey)[None, :, None], (2, 1, 3))))
    plain, mended = (oxygen_saturation(volumes, Settings(0, 0, mu)).intensity[0, :, 0].astype(int) for mu in (None, mu_eff))
    assert abs(plain[0] - 80) <= 1 and plain[-1] > 92, "deeper blood seems redder"
    assert np.abs(mended - 80).max() <= 1
    with pytest.raises(BadWavelengths, match="850 nm"):
        oxygen_saturation(volumes, Settings(mu_eff_per_mm={750.0: 0.1}))


def test_volumes_meet_on_the_box_that_they_share_and_strangers_are_refused():
    one, other = two(0.6)
    moved = Volume(other.intensity, (1.0, -0.5, 0.0), 0.5, other.metadata, other.state)
    found = oxygen_saturation([one, moved], ALL)
    assert found.origin_mm == (1.0, 0.0, 0.0) and found.intensity.shape == (4, 5, 6)
    for wrong in ({"origin_mm": (50.0, 0.0, 0.0)}, {"origin_mm": (0.2, 0.0, 0.0)}):
        with pytest.raises(VolumesApart):
            oxygen_saturation([one, Volume(other.intensity, wrong["origin_mm"], 0.5, other.metadata, other.state)])
    with pytest.raises(BadWavelengths, match="wavelength_nm"):
        oxygen_saturation([one, Volume(other.intensity, other.origin_mm, 0.5, {}, other.state)])


def test_volumes_of_two_reconstructions_are_refused_though_their_grids_meet():
    one, other = two(0.6)
    for key, told in (("sweep", "1-2-0"), ("motion", "recorded"), ("direction", "-"), ("frames_placed", "7"), ("beam_axis", "0 0 1")):
        with pytest.raises(VolumesApart, match=key):
            oxygen_saturation([one, replace(other, metadata={**other.metadata, key: told})], ALL)
    for volume in (one, other):
        del volume.metadata["sweep"]
    with pytest.raises(VolumesApart, match="again"):
        oxygen_saturation([one, other], ALL)


@pytest.mark.parametrize(
    ("begin_mm", "axis"), [((0, 0, 0), (0, 1, 0)), ((4, 300, -7), (0, 0, 1)), ((-20, 12, 5), (-1, 0, 0)), ((3, 2, 1), (0.6, 0.8, 0))]
)
def test_depth_is_along_the_beams_wherever_a_tracker_has_its_reference(begin_mm, axis):
    """Two volumes dimmed along the beams, built by hand: blood of 70 % at every depth, 3 mm of which lie above the skin."""
    mu_eff, surface_mm, shape = {750.0: 0.12, 850.0: 0.10}, 3.0, (12, 14, 16)
    low_mm = np.round((np.array(begin_mm) + 8 * np.array(axis) - 3) * 2) / 2
    volumes = []
    for nm in mu_eff:
        grey = np.zeros(shape, np.uint8)
        for k, j, i in np.ndindex(shape):
            depth_mm = sum((low_mm[n] + 0.5 * at - begin_mm[n]) * axis[n] for n, at in enumerate((i, j, k)))
            grey[k, j, i] = round(0.2 * blood(0.7, nm) * np.exp(-mu_eff[nm] * max(depth_mm - surface_mm, 0)))
        told = {"beam_origin_mm": " ".join(map(str, begin_mm)), "beam_axis": " ".join(map(str, axis))}
        volumes.append(a_volume(nm, grey, tuple(low_mm), **told))
    found = oxygen_saturation(volumes, Settings(0, 0, mu_eff, surface_mm))
    assert np.abs(found.intensity.astype(int) - 70).max() <= 1 and "along the beams from 3 mm" in found.metadata["fluence"]
    assert found.metadata["beam_axis"] == volumes[0].metadata["beam_axis"]


@pytest.mark.parametrize("told", ["", "0 1", "0 1 nan", "a b c"])
def test_without_the_beams_no_fluence_is_corrected(told):
    volumes = [replace(one, metadata={**one.metadata, "beam_axis": told}) for one in two(0.6)]
    with pytest.raises(DepthUnknown, match="beam_axis"):
        oxygen_saturation(volumes, Settings(mu_eff_per_mm={750.0: 0.1, 850.0: 0.1}))
    oxygen_saturation(volumes, ALL)


def test_the_volumes_of_a_sweep_tell_where_its_beams_are_and_which_sweep_it_is(tmp_path):
    """Moved and turned as a tracker has it: depth in the volume's own words is depth in the first image."""
    settings = SimulationSettings(frames=12, image_size=(40, 50), spacing_mm=(0.5, 0.4), seed=4, speckle=False, photoacoustic=True)
    frames = list(as_frames(simulate_sweep(settings)))
    to_tracker = np.array([[0, 0, 1, -310.0], [1, 0, 0, 220], [0, 1, 0, -1400], [0, 0, 0, 1]])
    moved = [
        msgspec.structs.replace(frame, image_to_reference=tuple((to_tracker @ frame.pose.matrix).ravel().tolist())) for frame in frames
    ]
    told = []
    for sweep in (frames, moved):
        with open_compounder("host", VolumeSettings(), 1) as compounder:
            reconstructor = Reconstructor(open_motion(MotionConfig(source="recorded")), compounder, say_bricks=False)
            for frame in sweep:
                reconstructor.feed(frame)
            told.append(reconstructor.volumes()["photoacoustic-800nm"].metadata)
    at, down = (np.array([float(v) for v in told[1][key].split()]) for key in ("beam_origin_mm", "beam_axis"))
    first = moved[0].pose
    assert np.allclose(at, first.apply([19.5, 0, 0]), atol=1e-5) and np.allclose(first.apply([19.5, 30, 0]), at + 12 * down, atol=1e-5)
    assert told[0]["sweep"] == told[1]["sweep"] and told[0]["beam_axis"] == "0 1 0"


def test_the_command_writes_a_volume_that_says_what_it_is_and_a_picture(tmp_path, capsys):
    paths = [tmp_path / f"leg-photoacoustic-{nm}nm.nrrd" for nm in (750, 850)]
    for path, volume in zip(paths, two(0.9, (12, 12, 20)), strict=True):
        write_volume(path, volume)
    out, picture = tmp_path / "so2.nrrd", tmp_path / "so2.png"
    words = ["oxygenation", *map(str, paths), "-o", str(out), "--picture", str(picture), "--json"]
    assert main([*words, "--mu-eff-per-mm", "0.11,0.11"]) == 0
    answer = json.loads(capsys.readouterr().out)
    found = read_volume(out)
    assert abs(np.median(found.intensity[found.state > 0]) - 90) <= 1 and answer["voxels"] == (found.state > 0).sum()
    told = found.metadata
    assert told["unit"].startswith("percent") and "Prahl" in told["extinction"] and "not for diagnosis" in told["caveat"]
    assert "mu_eff 750 nm 0.11/mm" in told["fluence"] and told["motion"] == "network: small" and "wavelength_nm" not in told
    assert picture.stat().st_size > 5000
    assert main([*words, "--mu-eff-per-mm", "0.11"]) != 0 and "give one for each" in capsys.readouterr().err
    assert main(["oxygenation", str(paths[0]), "-o", str(out)]) != 0 and "another wavelength" in capsys.readouterr().err
    assert main(["oxygenation", *map(str, paths), "-o", str(paths[0])]) != 0, "an input is not written over"
