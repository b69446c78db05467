"""What the gateway makes of the device's own state: faults for everybody, banners that stay, fewer images while it is hot."""

import asyncio
import time

import pytest
from aiohttp import WSMsgType
from aiohttp.test_utils import TestClient, TestServer

from edge.config import Config, RecordConfig, TabletConfig
from edge.messages import FaultRaised, Status
from edge.tablet.doors import Doors
from edge.tablet.feed import ClientFeed
from edge.tablet.gateway import TabletService
from edge.tablet.raised import SHOWN_S
from edge.tablet.session import Session


class Link:
    """The gateway's end of the bus, without one."""

    def __init__(self):
        self.raised, self.faults, self.poses_heard = [], {}, 0

    def raise_fault(self, fault):
        self.raised.append(fault)


class Client:
    """A tablet that is told things."""

    def __init__(self):
        self.feed, self.shown, self.told = ClientFeed(30.0), None, []

    def tell(self, message):
        self.told.append(message)

    def wake(self):
        pass


@pytest.fixture
def service(tmp_path):
    tablet = TabletConfig(address="127.0.0.1", secure=False, folder=str(tmp_path / "tablet"))
    config = Config(record=RecordConfig(folder=str(tmp_path / "sweeps")), tablet=tablet)
    return TabletService(config, Link(), Doors(tablet, 8443))


def hot(service, monkeypatch, standing):
    def look(bytes_per_s):
        began = {name: detail for name, detail in standing.items() if name not in service._watch.standing}
        service._watch.standing = dict(standing)
        service._watch.told, service._watch.figures = {"storage": {"free_mib": 1, "minutes": None}}, {"celsius": 95.0}
        return began

    monkeypatch.setattr(service._watch, "look", look)
    service._health_at = service._state_at = -1e9
    service.status()


def test_heat_is_said_to_everybody_once_and_lowers_every_tablets_images_while_it_lasts(service, monkeypatch, capsys):
    client = Client()
    service.clients.add(client)
    hot(service, monkeypatch, {"DEVICE_HOT": "95 C"})
    assert [(fault.name, fault.service) for fault in service.link.raised] == [("DEVICE_HOT", "tablet")]
    assert "DEVICE_HOT: The device is very hot" in capsys.readouterr().err
    assert [fault["name"] for fault in client.told[-1]["faults"]] == ["DEVICE_HOT"]
    assert client.feed.most_images_per_s == 10.0
    status = service.status()
    assert (status.standing, status.health["celsius"]) == ({"DEVICE_HOT": "95 C"}, 95.0) and status.health["memory_mib"] > 10
    hot(service, monkeypatch, {"DEVICE_HOT": "95 C"})
    assert len(service.link.raised) == 1
    hot(service, monkeypatch, {})
    assert client.feed.most_images_per_s == 30.0


def test_a_fault_that_stands_is_shown_as_long_as_it_stands():
    session, now = Session(Config()), time.monotonic()
    standing = Status(service="record", state="idle", counts={}, standing={"DISK_NEARLY_FULL": "3 MiB are free"})
    session.hear(FaultRaised(service="record", name="DISK_NEARLY_FULL", detail="4 MiB are free"), now)
    session.hear(standing, now)
    assert len(session.state(now)["faults"]) == 1, "once, not twice"
    later = now + SHOWN_S + 1
    session.hear(standing, later)
    (fault,) = session.state(later)["faults"]
    assert (fault["name"], fault["detail"], fault["age_s"], fault["effect"]) == ("DISK_NEARLY_FULL", "3 MiB are free", 0.0, "note")
    session.hear(Status(service="record", state="idle", counts={}), later)
    assert session.state(later)["faults"] == []


def test_work_that_fails_beside_the_link_is_said(service, capsys):
    async def breaks():
        raise ZeroDivisionError("of a job")

    async def story():
        service.start_job(breaks())
        await asyncio.sleep(0.01)

    asyncio.run(story())
    assert "ZeroDivisionError('of a job')" in capsys.readouterr().err and not service._jobs


def test_a_tablet_that_unpairs_is_out_with_its_open_link_and_its_lease(service):
    async def story(client, host):
        async with client.ws_connect("/link", headers=host) as link:
            await told(link, "take_operator")
            assert service.lease.holder is not None
            left = asyncio.ensure_future(client.post("/api/unpair", json={}, headers=host))
            while (said := await link.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED):
                pass
            assert said.data == 4001 and (await left).status == 200
        assert service.lease.holder is None and service.lease._lost == ("", 0.0) and service.paired() == []
        assert (await client.get("/api/sweeps/x/files/y", headers=host)).status == 401

    paired(service, story)


def test_a_tablets_second_link_operates_while_its_first_one_is_not_yet_known_to_be_dead(service):
    async def story(client, host):
        async with client.ws_connect("/link", headers=host) as old:
            await told(old, "take_operator")
            async with client.ws_connect("/link", headers=host) as new:
                assert (await told(new, "freeze", on=True))[-1]["ok"]
            while len(service.clients) > 1:
                await asyncio.sleep(0.01)
            assert (await told(old, "freeze", on=False))[-1]["ok"], "the other page of the tablet again"

    paired(service, story)


def test_what_a_command_changed_is_told_before_its_answer(service):
    async def story(client, host):
        async with client.ws_connect("/link", headers=host) as link:
            await told(link, "take_operator")
            said = await told(link, "exam", exam={"notes": "left calf"})
            assert [one["exam"] for one in said if one["type"] == "state"][-1:] == [{"notes": "left calf"}]

    paired(service, story)


def test_the_code_that_a_tablet_shows_leads_to_where_that_tablet_sees_the_device(service, monkeypatch):
    async def story(client, host):
        monkeypatch.setattr(service._doors, "address", lambda: "http://10.0.0.9:8443")
        async with client.ws_connect("/link", headers=host) as link:
            await told(link, "take_operator")
            assert (await told(link, "pairing", on=True))[-1]["url"].startswith("http://10.0.0.9:8443/#pair="), (
                "no other tablet comes by 127.0.0.1"
            )
        monkeypatch.setattr(service._doors, "_hosts", {"sono.local"})
        seen = f"sono.local:{client.port}"
        async with client.ws_connect("/link", headers={"Host": seen, "Origin": f"http://{seen}"}) as link:
            await told(link, "take_operator")
            assert (await told(link, "pairing", on=True))[-1]["url"].startswith(f"http://{seen}/#pair=")

    paired(service, story)


def test_a_tablet_that_can_be_told_nothing_any_more_is_hung_up_on_and_the_reason_is_said(service, capsys):
    async def story(client, host):
        async with client.ws_connect("/link", headers=host) as link:
            assert (await link.receive_json())["type"] == "hello"
            (own,) = service.clients
            own.feed.next_image = lambda now: 1 // 0
            own.wake()
            while (said := await link.receive(5)).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED):
                pass
            assert said.data == 1011
        assert "ZeroDivisionError" in capsys.readouterr().err

    paired(service, story)


def paired(service, story):
    """``story(client, headers)`` of a tablet that may come in."""

    async def whole():
        doors = service._doors
        async with TestClient(TestServer(doors.app, host="127.0.0.1")) as client:
            doors.port = client.port
            doors.open_pairing()
            host = {"Host": f"127.0.0.1:{client.port}", "Origin": f"http://127.0.0.1:{client.port}"}
            await client.post("/api/pair", json={"code": doors.window.code, "name": "iPad"}, headers=host)
            await story(client, host)

    asyncio.run(asyncio.wait_for(whole(), 20))


async def told(link, action, **words):
    """All that the device says until it answers, the answer last."""
    await link.send_json({"id": 1, "do": action} | words)
    said = [await link.receive_json()]
    while said[-1]["type"] != "answer":
        said.append(await link.receive_json())
    return said


def test_a_list_that_was_read_before_the_newest_change_is_not_told_after_it(service):
    async def story():
        first, client = asyncio.Event(), Client()
        service.clients.add(client)

        async def listing():
            mine = next(numbers)
            if mine == 1:
                await first.wait()
            return {"type": "library", "sweeps": [mine]}

        numbers, service.listing = iter((1, 2)), listing
        service.tell_library()
        await asyncio.sleep(0)
        service.tell_library()
        await asyncio.sleep(0.01)
        first.set()
        await asyncio.sleep(0.01)
        assert [told["sweeps"] for told in client.told] == [[2]]

    asyncio.run(story())
