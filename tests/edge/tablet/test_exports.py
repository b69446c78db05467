"""Files made of a sweep in the library: every wavelength in every format, and each in its own channel when the sweep is shown again."""

import json
import zipfile

import numpy as np
import pytest

from edge.files import CannotWrite
from edge.files.names import sweep_id
from edge.files.volumes import Volume, read_volume
from edge.saving import save_volumes
from edge.tablet.exports import export, read_channels
from edge.tablet.library import Library, Record

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


def test_a_path_that_was_heard_in_part_is_never_exported_as_if_it_were_whole(tmp_path, monkeypatch):
    library = a_library(tmp_path, NAMES)
    pose = (0.0, 0.1, 0.0, *np.eye(4)[:3].ravel().tolist())
    library.write(Record(id=SWEEP, frames=4, path=[pose, pose], image_size=(2, 2), motion="constant"))
    with pytest.raises(CannotWrite, match="only 2 of 4 positions of the sweep were heard; rebuild it"):
        export(library, SWEEP, ("igs.mha",), lambda done, total: None)
    titles = []
    monkeypatch.setattr("edge.tablet.exports.draw", lambda *told: titles.append(told[-1]))
    export(library, SWEEP, ("png", "zip"), lambda done, total: None)
    assert titles[0].endswith("PATH: ONLY 2 of 4 positions")
    with zipfile.ZipFile(library.volumes / f"{SWEEP}_0.zip") as file:
        assert json.loads(file.read("manifest.json"))["path"] == "only 2 of 4 positions were heard"
    library.write(Record(id=SWEEP, frames=2, path=[pose, pose], image_size=(2, 2), motion="constant"))
    export(library, SWEEP, ("png",), lambda done, total: None)
    assert "ONLY" not in titles[1]
