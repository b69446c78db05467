"""The gateway against the real services, with a page that is thirty lines of Python: pair, sweep, keep, turn round, come back."""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent / "edge" / "tablet"))

from link_client import LinkClient
from small_device import device_config, held_probe

from edge.files.archive import check_archive
from edge.files.volumes import read_volume
from edge.local_device import LocalDevice
from edge.services import SERVICES
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep
from edge.tablet.audit import verify
from edge.tablet.control import ask

PATIENCE_S = 40.0
PASSING = ("NO_IMAGES", "SERVICE_GONE")  # on a busy machine for a moment


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "small.igs.mha"
    settings = SimulationSettings(frames=60, frames_per_s=30.0, image_size=(96, 80), spacing_mm=(0.4, 0.4), speckle=False)
    write_simulated_sweep(path, simulate_sweep(settings))
    return path


@pytest.fixture
def config(tmp_path):
    run_dir = tempfile.mkdtemp(prefix="sono-")
    yield device_config(tmp_path, run_dir)
    shutil.rmtree(run_dir)


@pytest.fixture
def device(config, sweep):
    with LocalDevice(config, tuple(SERVICES)) as device, held_probe(sweep, config, "--no-poses") as device.probe:
        yield device


class Page:
    """Acknowledges, holds bricks, answers the checksum, remembers every text by its type."""

    def __init__(self, base, session, patience_s=PATIENCE_S):
        self.base, self.session, self.client, self.patience_s = base, session, LinkClient(), patience_s
        self.heard, self.last, self.number = [], {}, 0

    async def connect(self):
        self.last.clear()
        self.ws = await self.session.ws_connect(self.base + "/link")
        self.reading = asyncio.ensure_future(self.read())

    async def read(self):
        async for message in self.ws:
            if message.type == aiohttp.WSMsgType.BINARY:
                kind, seq = self.client.take(message.data)
                await self.ws.send_json({"ack": kind, "seq": seq})
                continue
            said = json.loads(message.data)
            self.heard.append(said)
            self.last[said["type"]] = said
            if said["type"] == "epoch":
                self.client.show(said["epoch"])
            elif said["type"] == "end":
                said["same"] = self.client.crc32() == (said["crc32"], said["bricks"])

    async def do(self, action, **words):
        self.number += 1
        number = self.number
        await self.ws.send_json({"id": number, "do": action} | words)
        return await self.until(lambda: next((m for m in self.heard if m["type"] == "answer" and m["id"] == number), None), action)

    async def until(self, done, what=""):
        deadline = time.monotonic() + self.patience_s
        while not (found := done()):
            assert time.monotonic() < deadline, (what, self.last.get("state"), self.heard[-3:])
            await asyncio.sleep(0.02)
        return found

    def state(self, name):
        sweep = self.last.get("state", {}).get("sweep")
        return sweep is not None and sweep["state"] == name

    async def started(self, **words):
        """A sweep begins with the next image."""
        deadline = time.monotonic() + self.patience_s
        while not (answer := await self.do("start", **words))["ok"]:
            assert answer["error"] in PASSING and time.monotonic() < deadline, answer
            await asyncio.sleep(0.1)

    async def swept(self, device, seconds=0.0):
        """A sweep from start to the volume's end; answers its id."""
        before = len([m for m in self.heard if m["type"] == "end"])
        await self.until(lambda: self.last.get("state", {}).get("services", {}).get("bridge") == "receiving", "images")
        await self.until(device.probe.still, "the probe lies still")
        await self.started(direction="", exam={"notes": "left calf", "patient_name": "Eve"})
        device.probe.move()
        await self.until(lambda: self.state("sweeping"), "sweeping")
        if seconds:
            await asyncio.sleep(seconds)
            stopped = await self.do("stop")
            assert stopped["ok"] or stopped["error"] == "NO_SWEEP", stopped  # on a busy machine the probe's own end may come first
        await self.until(lambda: self.state("unsaved"), "ended")
        await self.until(lambda: len([m for m in self.heard if m["type"] == "end"]) > before, "end")
        return self.last["state"]["sweep"]["id"]


@asynccontextmanager
async def page(device, *, operate=True):
    told = ask(device.run_dir, "pair")
    base = told["url"].split("/#")[0]
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(headers={"Origin": base}, cookie_jar=jar) as session:
        async with session.post(base + "/api/pair", json={"secret": told["url"].split("pair=")[1], "name": "iPad"}) as answer:
            assert answer.status == 200
        one = Page(base, session)
        await one.connect()
        if operate:
            assert (await one.do("take_operator"))["ok"]
        yield one
        await one.ws.close()
        one.reading.cancel()


def play(story, *arguments):
    asyncio.run(asyncio.wait_for(story(*arguments), 150))


async def listed_now(tablet, sweep):
    before = len([m for m in tablet.heard if m["type"] == "library"])
    assert (await tablet.do("list"))["ok"]
    await tablet.until(lambda: len([m for m in tablet.heard if m["type"] == "library"]) > before, "list")
    return next(one for one in tablet.last["library"]["sweeps"] if one["id"] == sweep)


def test_a_sweep_is_shown_kept_turned_and_opened_again(device, config):
    folder = Path(config.record.folder)

    async def story():
        async with page(device) as tablet:
            sweep = await tablet.swept(device)
            assert tablet.last["end"]["same"] and tablet.client.images
            plus = tablet.client.crc32()
            refused = await tablet.do("save", sweep=sweep)
            assert refused["error"] == "DIRECTION_UNCONFIRMED"
            assert (await tablet.do("save", sweep=sweep, direction_confirmed=True))["ok"]
            volume = next(folder.glob(f"{sweep}_?.nrrd"))
            assert read_volume(volume).metadata["direction_source"] == "operator"
            assert (await tablet.do("measures", sweep=sweep, measures=[{"kind": "distance", "value": 9.5}]))["ok"]
            assert (await tablet.do("export", sweep=sweep, formats=["zip", "mha", "png", "igs.mha"]))["ok"]
            job = await tablet.until(lambda: next((m for m in tablet.heard if m["type"] == "job" and m["files"]), None), "export")
            assert {name.split(".", 1)[1] for name in job["files"]} == {"zip", "mha", "png", "igs.mha"}
            archived = {entry["name"] for entry in check_archive(volume.with_suffix(".zip"))["files"]}
            assert archived == {path.name for path in folder.glob(f"{sweep}*") if path.suffix not in (".zip", ".json")}
            assert set(job["files"]) - archived == {volume.with_suffix(".zip").name}
            deadline = time.monotonic() + PATIENCE_S
            for ending, fetched in ((".png", False), (".igs.mha", False), (".mha", True)):
                name = volume.with_suffix(ending).name
                async with tablet.session.get(f"{tablet.base}/api/sweeps/{sweep}/files/{name}") as answer:
                    assert answer.status == 200 and len(await answer.read()) > 1000
                    assert "attachment" in answer.headers["Content-Disposition"] and answer.headers["Cache-Control"] == "no-store"
                while (await listed_now(tablet, sweep))["fetched"] is not fetched:  # the last byte arrives before it is noted
                    assert fetched and time.monotonic() < deadline, name
                    await asyncio.sleep(0.05)
            async with tablet.session.get(f"{tablet.base}/api/sweeps/{sweep}/files/..%2F..%2Ftablet%2Ftablets.json") as answer:
                assert answer.status in (403, 404)
            assert (await tablet.do("open", sweep=sweep))["ok"]
            await tablet.until(
                lambda: tablet.last["epoch"]["source"] == sweep and tablet.last["end"]["epoch"] == tablet.last["epoch"]["epoch"], "opened"
            )
            assert tablet.last["end"]["same"] and tablet.client.crc32() == plus
            assert (await tablet.do("flip", sweep=sweep))["ok"]
            await tablet.until(lambda: tablet.last["epoch"]["source"] == "live" and tablet.state("saved"), "turned")
            await tablet.until(lambda: tablet.last["end"]["epoch"] == tablet.last["epoch"]["epoch"], "end of the turned volume")
            assert tablet.last["end"]["same"] and tablet.client.crc32() != plus
            (volume,) = folder.glob(f"{sweep}_?.nrrd")
            assert read_volume(volume).metadata["direction"] == "-"
            assert not list(folder.glob("*.png")) and not list(folder.glob("*.igs.mha")), "pictures of the mirror image do not stay"
            listed = next(one for one in tablet.last["library"]["sweeps"] if one["id"] == sweep)
            assert listed["state"] == "saved" and listed["direction"] == "-" and listed["exam"] == {"notes": "left calf"}
            assert not listed["measures"], "they were of the mirror image"

    play(story)
    assert verify(Path(config.tablet.folder) / "audit.jsonl") > 5
    assert "Eve" not in (Path(config.tablet.folder) / "audit.jsonl").read_text()


def test_discard_undo_and_purge(device, config):
    async def story():
        async with page(device) as tablet:
            sweep = await tablet.swept(device, seconds=0.5)
            assert (await tablet.do("purge", sweep=sweep))["error"] == "WRONG_STATE"
            assert (await tablet.do("discard", sweep=sweep))["ok"] and not list(Path(config.record.folder).glob("*.mcap"))
            assert (await tablet.do("restore", sweep=sweep))["ok"] and list(Path(config.record.folder).glob("*.mcap"))
            assert (await tablet.do("discard", sweep=sweep))["ok"] and (await tablet.do("purge", sweep=sweep))["ok"]
            assert not list(Path(config.record.folder).rglob("sweep_*"))
            assert (await tablet.do("open", sweep=sweep))["error"] == "NO_SUCH_SWEEP"

    play(story)


def test_one_operates_and_the_others_watch(device):
    async def story():
        async with page(device) as one, page(device, operate=False) as two, page(device, operate=False) as three:
            for action in ("start", "stop", "discard", "freeze", "pairing"):
                assert (await two.do(action))["error"] == "NO_OPERATOR_LEASE"
            assert (await two.do("dance"))["error"] == "UNKNOWN_COMMAND"
            await one.swept(device, seconds=0.7)
            for other in (two, three):
                await other.until(lambda other=other: "end" in other.last, "end at the others")
                assert other.last["end"]["same"] and other.client.crc32() == one.client.crc32()
            assert (await two.do("take_operator"))["ok"] and (await one.do("freeze", on=True))["error"] == "NO_OPERATOR_LEASE"
            assert (await two.do("freeze", on=True))["ok"]
            await one.until(lambda: one.last["state"]["live"]["frozen"], "frozen everywhere")
            held = -1
            deadline = time.monotonic() + PATIENCE_S
            while held != (held := len(three.client.images)):  # what was under way may still come
                assert time.monotonic() < deadline, "images go on"
                await asyncio.sleep(0.5)
            assert (await two.do("freeze", on=False))["ok"]
            await three.until(lambda: len(three.client.images) > held, "images come again")

    play(story)


def test_the_operator_whose_link_was_lost_operates_again_unless_another_took_over(device):
    async def story():
        async with page(device, operate=False) as other:
            async with page(device) as one:
                name = (await one.until(lambda: one.last.get("state", {}).get("operator"), "it operates"))["name"]
                await one.ws.close()
                await other.until(lambda: other.last.get("state", {"operator": 0})["operator"] is None, "nobody operates")
                await one.connect()
                mine = {"name": name, "me": True}
                await one.until(lambda: one.last.get("state", {}).get("operator") == mine, "it operates again")
                newer = Page(one.base, one.session)
                await newer.connect()
                await newer.until(lambda: newer.last.get("state", {}).get("operator") == mine, "its newest link does")
                await one.until(lambda: one.last["state"]["operator"] == mine | {"me": False}, "not its old one")
                await newer.ws.close()
                newer.reading.cancel()
                await one.until(lambda: one.last["state"]["operator"] == mine, "now the old one does")
                await one.ws.close()
                await other.until(lambda: other.last["state"]["operator"] is None, "nobody operates")
                assert (await other.do("take_operator"))["ok"]
                await one.connect()
                await one.until(lambda: (one.last.get("state", {}).get("operator") or mine)["me"] is False, "another has taken over")

    play(story)


def test_ten_thousand_malformed_messages_are_refused_and_the_service_lives(device):
    async def story():
        async with page(device) as tablet:
            sent = 0
            try:
                for n in range(10_000):
                    await tablet.ws.send_str('{"do": ' * (n % 7) + str(n))
                    sent += 1
            except (aiohttp.ClientError, ConnectionError):
                pass
            await tablet.until(lambda: tablet.ws.closed, "hung up on")
            assert sent >= 100
        async with page(device) as tablet:
            await tablet.ws.send_str("x" * 200_000)
            await tablet.until(lambda: tablet.ws.closed, "hung up on an oversize message")
        async with page(device) as tablet:
            assert (await tablet.do("ping", t=1.5))["t"] == 1.5

    play(story)


def test_a_tablet_comes_back_after_kill_9_of_the_gateway(device):
    async def story():
        async with page(device) as tablet:
            sweep = await tablet.swept(device, seconds=0.5)
        device.kill("tablet")
        device.start("tablet")
        await asyncio.to_thread(device.wait_for, {"tablet"})
        async with page(device) as tablet:
            await tablet.do("list")
            assert [one["id"] for one in (await tablet.until(lambda: tablet.last.get("library")))["sweeps"]] == [sweep]
            assert (await tablet.do("open", sweep=sweep))["ok"]
            await tablet.until(lambda: "end" in tablet.last, "opened")
            assert tablet.last["end"]["same"]
            await tablet.swept(device, seconds=0.5)
            assert tablet.last["end"]["same"]

    play(story)
