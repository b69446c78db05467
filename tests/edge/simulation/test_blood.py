"""Simulated vessels: known size, oxygen and light, told truthfully; samples linear in the absorbed energy."""

import json

import numpy as np
import pytest

from edge.app import main
from edge.files import open_sweep
from edge.simulation import Freehand, SimulationSettings, as_frames, simulate_sweep
from edge.simulation.blood import BRIGHTEST, PULSE_ENERGY_MJ, absorption_per_mm
from edge.simulation.simulate import BadSimulation

NM = (750.0, 850.0)


def small(**changes):
    settings = {
        "frames": 12,
        "image_size": (80, 96),
        "spacing_mm": (0.5, 0.5),
        "wavelengths_nm": NM,
        "hand": Freehand(step_mm=0.5),
        "seed": 5,
    }
    return simulate_sweep(SimulationSettings(**settings | changes))


def test_whole_blood_absorbs_what_is_known_of_it():
    assert 0.4 < absorption_per_mm(800, 0.98) < 0.5, "about 4.5 per cm at 800 nm"
    assert absorption_per_mm(750, 0.6) > absorption_per_mm(750, 0.98) and absorption_per_mm(900, 0.6) < absorption_per_mm(900, 0.98)


def test_four_vessels_of_one_to_four_millimetres_lie_apart_and_inside():
    for seed in range(12):
        phantom = simulate_sweep(SimulationSettings(frames=240, wavelengths_nm=NM, hand=Freehand(step_mm=0.3), seed=seed)).phantom
        assert sorted(2 * vessel.tube.radius_mm for vessel in phantom.vessels) == [1.0, 1.8, 2.8, 4.0]
        z = np.linspace(0, 72, 60)
        lines = [vessel.centre_mm(z) for vessel in phantom.vessels]
        for n, line in enumerate(lines):
            radius = phantom.vessels[n].tube.radius_mm
            assert np.allclose(phantom.distances_mm(line)[n], -radius, atol=0.02)
            assert (line[:, 0] > 0).all() and (line[:, 0] < 40).all() and (line[:, 1] > 3).all() and (line[:, 1] < 40).all()
            for other in range(n):
                gap = np.linalg.norm(line[:, None] - lines[other], axis=2).min() - radius - phantom.vessels[other].tube.radius_mm
                assert gap > 0.3, (seed, n, other)


def test_light_takes_turns_between_ultrasound_and_tells_its_energy():
    frames = list(as_frames(small()))
    assert [frame.wavelength_nm for frame in frames[:6]] == [0, 750, 0, 850, 0, 750]
    energies = [frame.extras.laser_energy_mj for frame in frames]
    assert all((energy is None) == (frame.modality == "bmode") for energy, frame in zip(energies, frames, strict=True))
    told = [energy for energy in energies if energy is not None]
    assert np.std(told) > 0.2 and all(0.9 * PULSE_ENERGY_MJ < energy < 1.1 * PULSE_ENERGY_MJ for energy in told)


def test_samples_are_linear_in_absorption_and_in_the_pulse():
    sweep, clean = small(), small(speckle=False)
    for index in (1, 3):
        points = sweep.points_mm(index)
        inner = sweep.phantom.distances_mm(points) < -0.6
        energy_mj = sweep[index].laser_energy_mj
        for vessel, within in zip(sweep.phantom.vessels, inner, strict=True):
            if within.sum() < 5:
                continue
            absorbed = absorption_per_mm(sweep[index].wavelength_nm, vessel.saturation)
            strongest = max(absorption_per_mm(nm, one.saturation) for nm in NM for one in sweep.phantom.vessels)
            expected = 255 * BRIGHTEST * absorbed / strongest
            assert abs(clean[index].pixels[within].mean() / expected - 1) < 0.04
            assert abs(sweep[index].pixels[within].mean() / (expected * energy_mj / PULSE_ENERGY_MJ) - 1) < 0.04
    assert clean[1].laser_energy_mj == PULSE_ENERGY_MJ


def test_ultrasound_sees_the_same_vessels_dark():
    sweep = small(speckle=False)
    within = (sweep.phantom.distances_mm(sweep.points_mm(4)) < -0.6).any(0)
    assert sweep[4].pixels[within].mean() < 0.5 * sweep[4].pixels[~within].mean()


def test_tissue_takes_light_by_wavelength_and_the_receiver_gives_back_the_mean():
    plain, lossy = small(speckle=False), small(speckle=False, mu_eff_per_mm=(0.14, 0.08))
    points = plain.points_mm(1)
    for nm, lost in zip(NM, (0.03, -0.03), strict=True):
        ratio = lossy.phantom.signal(points, nm) / plain.phantom.signal(points, nm)
        assert np.allclose(ratio, np.exp(-lost * np.maximum(points[..., 1], 0)), rtol=1e-4)
    with pytest.raises(BadSimulation, match="one for each"):
        small(mu_eff_per_mm=(0.1,))


def test_the_command_writes_the_truth_beside_the_sweep(tmp_path, capsys):
    path = tmp_path / "blood.igs.mha"
    words = ["simulate", "-o", str(path), "--frames", "6", "--size", "40", "48", "--spacing-mm", "1", "--step-mm", "-0.5", "--json"]
    assert main([*words, "--wavelengths", "750,850", "--mu-eff-per-mm", "0.12,0.1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    truth = json.loads((tmp_path / "blood.truth.json").read_text())
    assert answer["truth"].endswith("blood.truth.json") and truth["mu_eff_per_mm"] == {"750": 0.12, "850": 0.1}
    assert len(truth["vessels"]) == 4 and all(40 < vessel["saturation_percent"] < 100 for vessel in truth["vessels"])
    assert min(point[2] for point in truth["vessels"][0]["centre_line_mm"]) < -1, "backwards, as the sweep"
    read = list(open_sweep(path).frames())
    assert [frame.wavelength_nm for frame in read] == [0, 750, 0, 850, 0, 750] and read[1].extras.laser_energy_mj is not None
