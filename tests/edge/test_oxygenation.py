"""Oxygen saturation from photoacoustic volumes: the table, the unmixing, the masks, what the file says, and the command."""

import json

import numpy as np
import pytest
from scipy.optimize import nnls

from edge.app import main
from edge.files.volumes import Volume, read_volume, write_volume
from edge.oxygenation import BadWavelengths, Settings, VolumesApart, brightest_neighbour, extinction, extinctions, oxygen_saturation, unmix

ALL = Settings(threshold=0, edge_share=0)


def blood(saturation, wavelength_nm):
    oxy, deoxy = extinction(wavelength_nm)
    return saturation * oxy + (1 - saturation) * deoxy


def a_volume(wavelength_nm, grey, origin_mm=(0.0, 0.0, 0.0), state=None, **metadata):
    told = {"channel": f"photoacoustic-{wavelength_nm}nm", "wavelength_nm": str(wavelength_nm), "motion": "network: small", **metadata}
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


def test_only_what_is_bright_at_every_wavelength_and_not_filled_has_a_value():
    one, other = two(0.7)
    one.intensity[0, 0, 0] = 20
    other.intensity[1, 0, 0] = 20
    other.state[2, 0, 0], other.state[3, 0, 0] = 3, 2
    found = oxygen_saturation([one, other], Settings(edge_share=0))
    assert [int(found.state[k, 0, 0]) for k in range(4)] == [0, 0, 0, 2] and (found.state[:, 1:] == 1).all()
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
