"""Which wavelength a channel of the volume and a live image has, as tablets are told."""

import numpy as np
import pytest

from edge.config import Config
from edge.light import wavelength_nm
from edge.messages import Bricks
from edge.oxygenation import EDGE_SHARE, MOST_ROUNDING, THRESHOLD, extinction
from edge.tablet.session import Session
from edge.tablet.unmixing import unmixing
from edge.tablet.wire import photoacoustic


def bricks(channel, name):
    voxels = np.ones((1, 8, 8, 8), np.uint8)
    return Bricks(
        boot_id=1, sweep=0, sequence=0, epoch=7, channel=channel, channel_name=name, spacing_mm=0.5, timestamp_ns=0, received_ns=0,
        coords=np.zeros((1, 3), np.int32), intensity=voxels, state=voxels,
    )  # fmt: skip


def test_each_channel_of_light_is_named_once_when_it_appears():
    session = Session(Config())
    told = [
        session.hear(bricks(*one), 1.0)
        for one in ((0, "ultrasound"), (2, "photoacoustic-850nm"), (2, "photoacoustic-850nm"), (1, "photoacoustic"))
    ]
    lights = [[message["channels"] for message in said if message["type"] == "light"] for said in told]
    assert lights == [[[]], [[(2, 850)]], [], [[(1, 0), (2, 850)]]]
    assert session.shown.told()[-1] == {"type": "light", "epoch": 7, "channels": [(1, 0), (2, 850)], "oxygen": None}


def test_how_oxygen_is_unmixed_is_told_in_the_order_of_wavelengths_and_without_those_outside_the_table():
    told = unmixing({1: 850, 2: 532, 3: 750, 4: 0})
    assert told["wavelengths_nm"] == [750, 850] and told["channels"] == [3, 1]
    assert told["extinction"] == [extinction(750).tolist(), extinction(850).tolist()]
    assert (told["threshold"], told["edge_share"], told["most_rounding"]) == (THRESHOLD, EDGE_SHARE, MOST_ROUNDING)


@pytest.mark.parametrize("light", [{}, {1: 850}, {1: 850, 2: 0}])
def test_one_wavelength_tells_nothing_of_oxygen(light):
    assert unmixing(light) is None


@pytest.mark.parametrize("light", [{1: 850, 2: 855}, {1: 532, 2: 850}, {1: 532, 2: 1064}])
def test_wavelengths_that_cannot_tell_oxygen_are_named_without_channels(light):
    assert unmixing(light) == {"wavelengths_nm": sorted(light.values()), "channels": []}


@pytest.mark.parametrize(("nm", "flags"), [(850.4, 2 | 850 << 4), (0.0, 2), (4095, 2 | 4095 << 4), (4096, 2), (1e9, 2)])
def test_the_flags_of_an_image_hold_its_wavelength(nm, flags):
    assert photoacoustic(nm) == flags <= 0xFFFF


def test_the_wavelength_stands_in_the_channels_name():
    assert [wavelength_nm(name) for name in ("photoacoustic-750nm", "photoacoustic", "ultrasound")] == [750, 0, 0]
