"""Files made of a sweep in the library: every wavelength in every format, and each in its own channel when the sweep is shown again."""

import numpy as np
import pytest

from edge.files.names import sweep_id
from edge.files.volumes import Volume, read_volume
from edge.saving import save_volumes
from edge.tablet.exports import export, read_channels
from edge.tablet.library import Library

SWEEP = sweep_id(0xABC, 1)
NAMES = ("ultrasound", "photoacoustic-850nm", "photoacoustic-750nm")  # in the order in which the sweep had them


def a_library(folder, names, numbered=True):
    library = Library(folder / "sweeps", folder / "volumes")
    volumes = {}
    for number, name in enumerate(names):
        told = {"channel": name} | ({"channel_number": str(number)} if numbered else {})
        volumes[name] = Volume(np.full((2, 2, 2), 10 * number + 10, np.uint8), (0.0, 0.0, 0.0), 0.5, told, np.ones((2, 2, 2), np.uint8))
    save_volumes(library.volumes / f"{SWEEP}_0.nrrd", volumes)
    return library


def test_a_sweep_is_shown_again_in_the_channels_that_it_had(tmp_path):
    found = read_channels(a_library(tmp_path, NAMES), SWEEP)
    assert {number: volume.metadata["channel"] for number, volume in found.items()} == dict(enumerate(NAMES))


def test_volumes_from_before_channels_had_numbers_are_shown_as_they_were(tmp_path):
    found = read_channels(a_library(tmp_path, ("ultrasound", "photoacoustic"), numbered=False), SWEEP)
    assert {number: int(volume.intensity.max()) for number, volume in found.items()} == {0: 10, 1: 20}


@pytest.mark.parametrize("kind", ["mha", "nii.gz"])
def test_every_wavelength_is_exported_and_named(tmp_path, kind):
    library = a_library(tmp_path, NAMES)
    written = export(library, SWEEP, ("nrrd", kind), lambda done, total: None)
    stems = [f"{SWEEP}_0", f"{SWEEP}_0-photoacoustic-750nm", f"{SWEEP}_0-photoacoustic-850nm"]
    assert written == sorted(f"{stem}.{ending}" for stem in stems for ending in ("nrrd", kind))
    greys = [int(read_volume(library.volumes / f"{stem}.{kind}").intensity.max()) for stem in stems]
    assert greys == [10, 30, 20]
