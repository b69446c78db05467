"""A gateway whose bus and tablet are the test's own, and what a reconstructor says of sweeps."""

import asyncio

import numpy as np
from synthetic_frames import frame

from edge.config import Config, RecordConfig, TabletConfig
from edge.files.volumes import Volume
from edge.messages import Answer, Bricks, Pose, Status, SweepEnded
from edge.saving import save_volumes
from edge.tablet.commands import obey
from edge.tablet.doors import Doors
from edge.tablet.feed import ClientFeed
from edge.tablet.gateway import TabletService
from edge.tablet.wire import Request

BOOT = 0xABC
IDLE = Status(service="run", state="idle", counts={})


class Link:
    """The gateway's end of the bus: what is heard is laid in, every command is granted or answered as ``answers`` says."""

    def __init__(self):
        self.heard, self.asked, self.raised, self.faults, self.answers, self.meanwhile = [], [], [], {}, {}, None

    async def messages(self, status):
        for message in self.heard:
            yield message

    async def command(self, to, **words):
        self.asked.append((to, words["action"]))
        if self.meanwhile and to == "bridge":
            await self.meanwhile()
        return Answer(service=to, number=1, error=self.answers.get(words["action"], ""))

    def raise_fault(self, fault):
        self.raised.append(fault.name)


class Client:
    """A tablet that operates."""

    name, role = "one", "operator"

    def __init__(self):
        self.feed, self.shown, self.told, self.allowance = ClientFeed(30.0), None, [], self

    def take(self):
        return True

    def tell(self, message):
        self.told.append(message)

    def show(self, shown):
        self.shown = shown

    def wake(self):
        pass


class Device:
    """A gateway on a folder, one tablet, and the words for what happens."""

    def __init__(self, folder):
        tablet = TabletConfig(address="127.0.0.1", folder=str(folder / "tablet"))
        self.service = TabletService(Config(record=RecordConfig(folder=str(folder / "sweeps")), tablet=tablet), Link(), Doors(tablet, 8443))
        self.client, self.number = Client(), 0
        self.service.clients.add(self.client)
        self.service.lease.take(self.client)

    async def hears(self, *messages):
        self.service.link.heard = messages
        await self.service.run()
        while jobs := [job for job in self.service._jobs if not job.done()]:
            await asyncio.wait(jobs)

    async def does(self, action, **words):
        self.number += 1
        return await obey(self.service, self.client, Request(self.number, action, **words))

    async def starts(self, exam):
        await self.hears(frame(0, sweep=-1, received_ns=10**18))  # images come
        self.service.session._live.heard_s = 1e18
        await self.hears(Status(service="bridge", state="receiving", counts={}), IDLE)
        assert (await self.does("start", exam=exam))["ok"]

    @property
    def state(self):
        return self.service.session.state(0.0)["sweep"]

    def record(self, sweep):
        return self.service.library.record(sweep)

    def saves(self, sweep, part=0, direction="+"):
        """A volume as the reconstructor writes it; answers its files."""
        intensity = np.full((8, 8, 8), 10 + part, np.uint8)
        volume = Volume(intensity, (0.0, 0.0, 0.0), 0.5, {"channel": "ultrasound", "direction": direction}, np.ones((8, 8, 8), np.uint8))
        return save_volumes(self.service.library.volumes / f"{sweep}_{part}.nrrd", {"ultrasound": volume})


def pose(number, sequence, epoch=1, **more):
    matrix = np.diag([0.1, 0.2, 1.0, 1.0])
    matrix[2, 3] = 0.5 * sequence
    told = {"uncertainty": (0.01, 0.01, 0.05, 0.001, 0.001, 0.001)} | more
    at_ns = sequence * 33_000_000
    flat = tuple(matrix.ravel().tolist())
    return Pose(
        boot_id=BOOT, sweep=number, sequence=sequence, timestamp_ns=at_ns, epoch=epoch, image_to_reference=flat, source="network", **told
    )


def poses(number, count=4, epoch=1):
    return [pose(number, sequence, epoch) for sequence in range(count)]


def bricks(number, epoch=1, grey=10):
    block = np.full((1, 8, 8, 8), grey, np.uint8)
    told = {
        "sequence": 0,
        "channel": 0,
        "channel_name": "ultrasound",
        "spacing_mm": 0.5,
        "timestamp_ns": 0,
        "received_ns": 0,
        "coords": np.zeros((1, 3), np.int32),
    }
    return Bricks(boot_id=BOOT, sweep=number, epoch=epoch, intensity=block, state=np.ones_like(block), **told)


def ended(number, placed=4, direction="+", **more):
    told = {"reason": "last", "frames": placed, "placed": placed, "motion": "network", "direction": direction, "direction_source": "preset"}
    return SweepEnded(service="run", boot_id=BOOT, sweep=number, **(told | more))


def rebuilt(number, direction, files, **more):
    return ended(number, direction=direction, direction_source="operator", files=files, rebuilt=True, **more)
