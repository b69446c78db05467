"""Volumes and their companions: names that stay whole, and nothing left of an earlier reconstruction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_frames import frame

from edge.files import write_sweep
from edge.files.volumes import Volume
from edge.saving import channel_path, save_volumes

BOX = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
PLAIN = Volume(BOX, (0.0, 0.0, 0.0), 0.5)
WITH_STATES = Volume(BOX, (0.0, 0.0, 0.0), 0.5, state=np.ones((2, 2, 2), np.uint8))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz"])
def test_a_name_with_dots_keeps_its_ending(tmp_path, ending):
    path = tmp_path / f"leg.0318{ending}"
    assert channel_path(path, "photoacoustic").name == f"leg.0318-photoacoustic{ending}"
    save_volumes(path, {"ultrasound": WITH_STATES, "photoacoustic": WITH_STATES})
    found = [f"leg.0318{what}{ending}" for what in ("", "-photoacoustic", "-photoacoustic-state", "-state")]
    assert names(tmp_path) == sorted(found)


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz"])
def test_nothing_of_an_earlier_reconstruction_lies_beside_a_new_one(tmp_path, ending):
    path = tmp_path / f"leg{ending}"
    kept = tmp_path / f"leg-2-state{ending}"
    save_volumes(path, {"ultrasound": WITH_STATES, "photoacoustic": WITH_STATES})
    kept.write_bytes(path.read_bytes())
    save_volumes(path, {})
    assert len(names(tmp_path)) == 5, "a reconstruction without a volume replaces nothing"
    save_volumes(path, {"ultrasound": PLAIN})
    assert names(tmp_path) == sorted([path.name, kept.name])
    save_volumes(path, {"photoacoustic": PLAIN})
    assert names(tmp_path) == sorted([f"leg-photoacoustic{ending}", kept.name])


def test_a_sweep_under_a_companions_name_is_not_removed(tmp_path):
    write_sweep(tmp_path / "leg-photoacoustic.mha", [frame(0)])
    (tmp_path / "leg-state.mha").write_text("notes")
    save_volumes(tmp_path / "leg.mha", {"ultrasound": PLAIN})
    assert names(tmp_path) == ["leg-photoacoustic.mha", "leg-state.mha", "leg.mha"]


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz"])
def test_a_wavelength_of_an_earlier_reconstruction_goes_and_a_stranger_stays(tmp_path, ending):
    path = tmp_path / f"leg{ending}"
    save_volumes(path, {name: WITH_STATES for name in ("ultrasound", "photoacoustic-750nm", "photoacoustic-850nm")})
    assert f"leg-photoacoustic-850nm-state{ending}" in names(tmp_path)
    strangers = [tmp_path / f"leg-photoacoustic-notes{ending}", tmp_path / f"leg2-photoacoustic-750nm{ending}"]
    for stranger in strangers:
        stranger.write_bytes(path.read_bytes())
    save_volumes(path, {"ultrasound": PLAIN, "photoacoustic-850nm": PLAIN})
    assert names(tmp_path) == sorted([path.name, f"leg-photoacoustic-850nm{ending}", *(one.name for one in strangers)])
