"""A sweep that is recorded while nothing is reconstructed: the operator sees it run, stops it, and its exam is kept with it."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from synthetic_frames import frame

from edge.config import Config, RecordConfig, TabletConfig
from edge.files.names import sweep_id
from edge.messages import Geometry, Pose, Status, SweepEnded
from edge.services import WAITING
from edge.tablet.doors import Doors
from edge.tablet.exports import export
from edge.tablet.gateway import TabletService
from edge.tablet.library import NoSuchSweep
from edge.tablet.notes import note_sweeps
from edge.tablet.session import Session

NOW_S = 100.0
FRAME = frame(3)
ID = sweep_id(*FRAME.sweep_key)


def status(service, state):
    return Status(service=service, state=state, counts={})


def ended(service="record", **more):
    boot_id, sweep = FRAME.sweep_key
    return SweepEnded(service=service, boot_id=boot_id, sweep=sweep, reason="last", frames=8, **more)


def sweeping(run_state=WAITING, exam=None):
    session = Session(Config())
    session.exam = exam or {}
    session.hear(status("run", run_state), NOW_S)
    session.hear(status("record", "recording"), NOW_S)
    session.hear(frame(2, sweep=-1), NOW_S)
    session.hear(FRAME, NOW_S)
    session.hear(status("record", "recording"), NOW_S)
    return session


def test_the_operator_sees_it_run_and_end():
    session = sweeping()
    told = session.state(NOW_S)["sweep"]
    assert (told["id"], told["state"], told["recording"]) == (ID, "sweeping", "recording")
    session.hear(ended(), NOW_S + 1)
    told = session.state(NOW_S + 1)["sweep"]
    assert (told["state"], told["recording"], told["recorded_frames"], told["placed"]) == ("unsaved", "stopped", 8, 0)
    assert len(session.ended) == 1 and (session.sweep.record().direction_source, session.sweep.record().motion) == ("unknown", "")


def test_where_something_reconstructs_its_word_counts_and_not_the_recorders():
    session = sweeping("sweeping")
    assert session.sweep is None, "the first pose begins it"
    session = sweeping()
    session.hear(status("run", "sweeping"), NOW_S + 1)
    boot_id, sweep = FRAME.sweep_key
    matrix = (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0)
    pose = Pose(boot_id=boot_id, sweep=sweep, sequence=5, timestamp_ns=1, epoch=7 << 20, image_to_reference=matrix, source="recorded")
    session.hear(pose, NOW_S + 1)
    assert session.state(NOW_S + 1)["sweep"]["state"] == "sweeping", "joined late, not rebuilt"
    session.hear(ended(), NOW_S + 1)
    assert session.ended == [] and session.sweep.state == "sweeping"
    session.hear(ended("run", placed=3), NOW_S + 1)
    assert len(session.ended) == 1 and session.sweep.state == "unsaved"


def test_its_exam_is_kept_and_stays_with_it_when_its_volume_is_built_under_the_next_patients_form(tmp_path):
    tablet = TabletConfig(address="127.0.0.1", folder=str(tmp_path / "tablet"))
    config = Config(record=RecordConfig(folder=str(tmp_path / "sweeps")), tablet=tablet)
    service = TabletService(config, None, Doors(tablet, 8443))
    service.tell_library = lambda: None
    service.session = session = sweeping(exam={"patient_name": "one"})
    (Path(config.record.folder) / f"{ID}_0.mcap").touch()
    session.exam = {"patient_name": "two"}
    session.hear(ended(), NOW_S + 1)
    note_sweeps(service)
    known = service.library.record(ID)
    assert (known.exam, known.ended, known.state, known.created != "") == ({"patient_name": "one"}, "last", "unsaved", True)
    with pytest.raises(NoSuchSweep, match="it can be rebuilt from its recording"):
        export(service.library, ID, ("png",), lambda done, total: None)
    session.hear(ended("run", placed=8, motion="recorded", direction="+", direction_source="operator", rebuilt=True), NOW_S + 2)
    service.start_job, told = lambda work: work.close(), []
    service.fault = told.append
    note_sweeps(service)
    again = service.library.record(ID)
    assert (again.exam, again.motion, again.created) == ({"patient_name": "one"}, "recorded", known.created)
    assert [fault.name for fault in told] == ["SWEEP_HALF_HEARD"], "of its path nothing was heard"


def of_anna_then_berta():
    """Anna's sweep was placed and has ended; Berta's form was filled since."""
    session = Session(Config())
    session.exam = {"patient_name": "Anna"}
    session.hear(status("run", "idle"), NOW_S)
    session.hear(frame(0, sweep=-1), NOW_S)
    boot_id, sweep = FRAME.sweep_key
    matrix = (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0)
    session.hear(
        Pose(boot_id=boot_id, sweep=sweep, sequence=3, timestamp_ns=1, epoch=7 << 20, image_to_reference=matrix, source="network"), NOW_S
    )
    session.hear(ended("run", placed=1, motion="network"), NOW_S + 1)
    session.exam = {"patient_name": "Berta"}
    return session


def test_a_sweep_that_is_only_recorded_is_never_shown_over_the_volume_of_the_patient_before():
    session = of_anna_then_berta()
    anna = session.shown
    session.hear(status("run", WAITING), NOW_S + 20)
    said = session.hear(frame(20, sweep=1), NOW_S + 20)
    assert session.sweep.exam == {"patient_name": "Berta"}
    assert session.shown is session.sweep.shown is not anna and session.shown.path == []
    assert [one["type"] for one in said] == ["epoch", "path", "light"] and said[0]["epoch"] == session.state(NOW_S + 20)["sweep"]["epoch"]


def test_from_start_on_nothing_of_the_sweep_before_is_shown_but_a_sweep_that_began_meanwhile_is():
    session = of_anna_then_berta()
    anna = session.shown
    session.begin(NOW_S - 1)
    assert session.shown is anna, "it began after it was asked for"
    session.begin(NOW_S + 20)
    assert session.sweep is None and session.shown is not anna
    assert (session.shown.source, session.shown.epoch, session.shown.path) == ("live", 0, [])


def test_a_geometry_that_cannot_be_drawn_is_told_and_ends_nothing():
    session = Session(Config())
    fan = {"kind": "convex", "width": 128, "height": 512, "spacing_mm": (0.03, 0.03), "radius_start_mm": 60.0, "radius_stop_mm": 260.0}
    wide = Geometry(**fan, angle_start_deg=-35, angle_stop_deg=35)
    wide.check()
    session.hear(status("run", WAITING), NOW_S)
    session.hear(frame(0, sweep=-1), NOW_S)
    for number in (1, 2, 3):
        session.hear(frame(number, geometry=wide, pixels=np.zeros((512, 128), np.uint8)), NOW_S)
        assert session.image() is None, "neither the one before nor the beams as they come"
    told = session.state(NOW_S)
    assert told["live"] is None and told["sweep"]["state"] == "sweeping", "it is recorded"
    assert [(fault["name"], fault["service"], "pixels" in fault["detail"]) for fault in told["faults"]] == [
        ("GEOMETRY_REFUSED", "tablet", True)
    ]
    session.hear(frame(4), NOW_S)
    told = session.state(NOW_S)
    assert session.image() is not None and told["live"]["width"] == 24 and told["faults"] == []
