"""The processes of a device, in one table: what each hears and says. Wiring, units and tests are checked against it."""

from __future__ import annotations

from typing import NamedTuple

from edge.messages import Answer, Bricks, Command, FaultRaised, Frame, Message, Pose, Status, SweepEnded


class Service(NamedTuple):
    """A process: its command, the messages it hears (pushed to it or published) and says, the fault when it is gone."""

    command: str
    hears: tuple[type[Message], ...]
    says: tuple[type[Message], ...]
    gone: str
    queue_frames: int = 0  # bound of the frame queue that the bridge keeps for it; 0: it gets no frames
    patience_ms: int = 0  # how long the bridge holds back the probe for it before a frame counts as lost
    shows: bool = False  # it only shows frames: the newest takes the place of one that waits, and nobody waits for it


SERVICES = {
    "bridge": Service("sonosweep bridge", (Status, Command), (Frame, Answer, Status, FaultRaised), "BRIDGE_GONE"),
    "run": Service(
        "sonosweep run", (Frame, Status, Command), (Pose, Bricks, SweepEnded, Answer, Status, FaultRaised), "RECONSTRUCTOR_GONE", 32, 250
    ),
    "record": Service("sonosweep record", (Frame, Status, FaultRaised), (SweepEnded, Status, FaultRaised), "RECORDER_GONE", 256, 0),
    "tablet": Service(
        "sonosweep tablet",
        (Frame, Pose, Bricks, SweepEnded, Answer, Status, FaultRaised),
        (Command, Status, FaultRaised),
        "TABLET_GONE",
        queue_frames=2,
        shows=True,
    ),
}
GUESTS = {  # run where somebody starts them; nobody misses them
    "igtl": Service(
        "sonosweep igtl", (Frame, Pose, Bricks, SweepEnded, Status, FaultRaised), (Status, FaultRaised), "", queue_frames=2, shows=True
    ),
}
ALL = SERVICES | GUESTS
CORE = tuple(name for name, service in SERVICES.items() if not service.shows)  # what a sweep needs; the rest only shows it
CLIENTS_HEAR = (Pose, Bricks, SweepEnded, Status, FaultRaised)  # the demo and the benchmarks
STATUS_PERIOD_S = 0.2  # while there is work
IDLE_STATUS_PERIOD_S = 0.5
GONE_AFTER_S = 1.5
UPDATING = "updating"  # the file that lies in the run directory while a new version is installed
WAITING = "waiting"  # the state of a service that is alive and cannot do its work yet; a standing fault says why
