"""The gateway as a process: its local door outlives what goes wrong behind it, and where it does not, the gateway ends."""

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.config import Config, RecordConfig, TabletConfig
from edge.tablet import serving
from edge.tablet.library import NoSuchSweep, SidecarUnreadable


@pytest.mark.parametrize("wrong", [SidecarUnreadable("x.json: broken"), NoSuchSweep("there is no sweep")])
def test_a_button_that_meets_a_damaged_sweep_is_answered(wrong):
    async def press(word):
        raise wrong

    obey = serving._obeys(SimpleNamespace(press=press), None)
    told = asyncio.run(obey("start"))
    assert told["error"] == "UNREADABLE" and str(wrong) in told["text"]


def test_a_gateway_whose_local_door_is_broken_ends_and_is_started_again(tmp_path, monkeypatch):
    async def broken(*arguments):
        raise RuntimeError("the door is broken")

    monkeypatch.setattr(serving, "answer", broken)
    run_dir = Path(tempfile.mkdtemp(prefix="sono-"))
    tablet = TabletConfig(address="127.0.0.1", port=0, secure=False, folder=str(tmp_path / "tablet"))
    config = Config(run_dir=str(run_dir), record=RecordConfig(folder=str(tmp_path / "sweeps")), tablet=tablet)
    with pytest.raises(RuntimeError, match="the door is broken"):
        asyncio.run(asyncio.wait_for(serving.serve(config), 20))
