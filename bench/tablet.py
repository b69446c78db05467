"""How old an image is when a tablet shows it: the real services, a real browser, and (as root) a link that is as narrow as you say.

    python bench/tablet.py                       loopback, one tablet
    python bench/tablet.py --mbit 30             the gateway behind a link of 30 Mbit/s (network namespace and tc; root)
    python bench/tablet.py --mbit 40 --fade 4    ... that fades to 4 Mbit/s for four seconds
    python bench/tablet.py --tablets 3 --window 320x240 --json bench/results/tablet.json

A volume of 256^3 voxels grows at 10 updates/s beside 30 images/s of 640x480. Prints p50, p95 and the largest age in ms, how many
images were shown of those sent, how long after a fade they come in time again, and whether the checksums agree at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import zmq
from numpy.typing import NDArray

sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(2, str(Path(__file__).parents[1] / "tests"))

from chromium import chromium

from edge.bus import FrameQueue, Publisher, ipc
from edge.config import Config, RecordConfig, TabletConfig
from edge.messages import Bricks, Frame, Geometry, Pose, Status, SweepEnded
from edge.tablet.control import ask
from edge.tablet.feed import LADDER
from edge.tablet.jpeg import jpeg

SIDE = 32  # bricks
SPACE, HERE, THERE = "sonobench", "10.77.0.1", "10.77.0.2"
BATCH = SIDE**3 // 120  # bricks of an update: the volume is full after 12 s of 10 updates/s
FADE_AT_S, FADE_S, LATE_MS = 4.0, 4.0, 120.0
LAST_S = 0.5  # for the last image to be shown, or to be lost


class Link(NamedTuple):
    """``inside``: the words that run a command behind it; none for the loopback."""

    inside: list[str]

    def rate(self, mbit: float, how: str = "change") -> None:
        """From now on so narrow."""
        shape = ["tc", "qdisc", how, "dev", "sb1", "root", "tbf", "rate", f"{mbit}mbit", "burst", "32kbit", "latency", "200ms"]
        subprocess.run([*self.inside, *shape], check=True)


@contextmanager
def narrow(mbit: float) -> Iterator[Link]:
    """A network namespace behind a veth pair of that rate."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    subprocess.run(["ip", "netns", "del", SPACE], check=False, stderr=subprocess.DEVNULL)
    ip("netns", "add", SPACE)
    try:
        ip("link", "add", "sb0", "type", "veth", "peer", "name", "sb1", "netns", SPACE)
        ip("addr", "add", f"{HERE}/24", "dev", "sb0")
        ip("link", "set", "sb0", "up")
        inside = ["ip", "netns", "exec", SPACE]
        for words in (["addr", "add", f"{THERE}/24", "dev", "sb1"], ["link", "set", "sb1", "up"], ["link", "set", "lo", "up"]):
            subprocess.run([*inside, "ip", *words], check=True)
        link = Link(inside)
        link.rate(mbit, "add")
        yield link
    finally:
        ip("netns", "del", SPACE)


def speckle(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A log-compressed image with grains of some pixels, so that JPEG needs as many bytes for each pixel as for the leg sweeps."""
    field = rng.normal(size=(2, 480, 640))
    for axis, width in ((1, 11), (2, 23)):
        kernel = np.hanning(width + 2)[1:-1]
        field = np.apply_along_axis(np.convolve, axis, field, kernel / np.linalg.norm(kernel), mode="same")
    return np.clip(90 + 80 * np.log10(np.hypot(*field) + 1e-3), 0, 255).astype(np.uint8)


class FakeServices:
    """The bridge and the reconstructor as the gateway hears them, at an exact pace."""

    def __init__(self, run_dir: Path) -> None:
        self.context = zmq.Context()
        self.publishers = {name: Publisher(self.context, ipc(run_dir, name)) for name in ("bridge", "run", "record")}
        self.frames = FrameQueue(self.context, ipc(run_dir, "frames.tablet"), 2)
        rng = np.random.default_rng(1)
        self.images = np.stack([speckle(rng) for _ in range(8)])
        self.places = np.stack(np.unravel_index(np.arange(SIDE**3), (SIDE,) * 3), 1)[:, ::-1].astype(np.int32)
        self.speckle = rng.integers(1, 256, (BATCH, 8, 8, 8), dtype=np.uint8)
        self.sent = 0

    def status(self) -> None:
        for name, publisher in self.publishers.items():
            publisher.say(Status(service=name, state="sweeping" if name == "run" else "receiving", counts={}))

    def frame(self, n: int) -> None:
        now = time.monotonic_ns()
        geometry = Geometry(width=640, height=480, spacing_mm=(0.1, 0.1))
        one = Frame(boot_id=1, sweep=0, sequence=n, timestamp_ns=now, received_ns=now, geometry=geometry, pixels=self.images[n % 8])
        self.sent += self.frames.offer(one)
        matrix = np.diag([0.1, 0.1, 1.0, 1.0])
        matrix[2, 3] = 0.3 * n
        self.publishers["run"].say(
            Pose(
                boot_id=1,
                sweep=0,
                sequence=n,
                timestamp_ns=now,
                epoch=77,
                image_to_reference=tuple(matrix.ravel().tolist()),
                source="bench",
            )
        )

    def bricks(self, update: int) -> None:
        """An update: new bricks, and those of the update before changed once more."""
        at = np.arange(update * BATCH, (update + 1) * BATCH) % SIDE**3
        for places in (self.places[at], self.places[at - BATCH]):
            now = time.monotonic_ns()
            self.publishers["run"].say(
                Bricks(
                    boot_id=1, sweep=0, sequence=update, epoch=77, channel=0, channel_name="ultrasound", spacing_mm=0.3,
                    timestamp_ns=now, received_ns=now,
                    coords=places, intensity=np.roll(self.speckle, update + len(places), 0), state=np.ones_like(self.speckle),
                )
            )  # fmt: skip

    def end(self) -> None:
        self.publishers["run"].say(SweepEnded(service="run", boot_id=1, sweep=0, reason="last", frames=self.sent, placed=self.sent))


async def play(services: FakeServices, seconds: float, at: dict[int, Callable[[], None]] | None = None) -> None:
    """30 images and 10 updates a second. ``at``: what happens at which image."""
    begun = time.monotonic()
    for tick in range(int(seconds * 30)):
        if at and tick in at:
            at[tick]()
        services.frame(tick)
        if tick % 3 == 0:
            services.bricks(tick // 3)
        if tick % 6 == 0:
            services.status()
        await asyncio.sleep(max(begun + (tick + 1) / 30 - time.monotonic(), 0))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    with TemporaryDirectory(prefix="sono-") as folder, ExitStack() as stack:
        run_dir = Path(folder)
        link = stack.enter_context(narrow(options.mbit)) if options.mbit else Link([])
        address = THERE if link.inside else "127.0.0.1"
        config = Config(
            run_dir=folder,
            record=RecordConfig(folder=f"{folder}/sweeps"),
            tablet=TabletConfig(address=address, port=0, folder=f"{folder}/tablet", secure=False),
        )
        from edge.local_device import as_toml

        (run_dir / "edge.toml").write_text(as_toml(config))
        services = FakeServices(run_dir)
        gateway = stack.enter_context(
            subprocess.Popen([*link.inside, sys.executable, "-m", "edge", "tablet", "--config", f"{folder}/edge.toml"])
        )
        stack.callback(gateway.terminate)
        time.sleep(2)
        browsers = [stack.enter_context(chromium(options.window)) for _ in range(options.tablets)]
        for browser in browsers:
            told = ask(run_dir, "pair")
            browser.get(told["url"])
            while not browser.execute_script("return Boolean(globalThis.sonosweep && sonosweep.screens)"):
                time.sleep(0.2)
        services.status()
        time.sleep(2)
        asyncio.run(play(services, 3.0))  # warm
        time.sleep(LAST_S)
        for browser in browsers:
            browser.execute_script("sonosweep.ages = []")
        sent, jpeg_kb = services.sent, round(len(jpeg(services.images[0], LADDER["full"].jpeg)) / 1000, 1)
        restored: list[float] = []
        at: dict[int, Callable[[], None]] = {}
        if options.fade:
            at[int(30 * FADE_AT_S)] = lambda: link.rate(options.fade)
            at[int(30 * (FADE_AT_S + FADE_S))] = lambda: (link.rate(options.mbit), restored.append(1e3 * time.monotonic()))[0]
        asyncio.run(play(services, options.seconds, at))
        time.sleep(LAST_S)
        ages = [browser.execute_script("return sonosweep.ages") for browser in browsers]
        shown_of = services.sent - sent
        for _ in range(20):
            services.status()
            services.end()
            time.sleep(0.5)
            if all(browser.execute_script("return sonosweep.checked !== null && sonosweep.checked !== undefined") for browser in browsers):
                break
        same = [browser.execute_script("return sonosweep.checked && sonosweep.checked.same") for browser in browsers]
    told = {"sonosweep": version("sonosweep"), "window": "{}x{}".format(*options.window)}
    told |= {"mbit": options.mbit or None, "fade_mbit": options.fade or None}
    return told | {"jpeg_kb": jpeg_kb, "tablets": [row(one, shown_of, restored) for one in ages], "same_checksum": same}


def row(ages: list[tuple[float, float]], sent: int, restored: list[float]) -> dict[str, Any]:
    """Of one tablet. ``recovered_after_ms``: from the end of the fade until ten images in a row began to come in time; None: never."""
    after = [(taken + age - restored[0], age) for taken, age in ages if restored and taken + age > restored[0]]
    in_time = (shown for n, (shown, _) in enumerate(after[: len(after) - 9]) if max(age for _, age in after[n : n + 10]) < LATE_MS)
    told: dict[str, Any] = {"shown": len(ages), "sent": sent}
    told |= {f"p{q}_ms": round(float(np.percentile([age for _, age in ages], q)), 1) for q in (50, 95, 100)}
    return told | ({"recovered_after_ms": round(first) if (first := next(in_time, None)) is not None else None} if restored else {})


def window(text: str) -> tuple[int, int]:
    """640x480"""
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbit", type=float, default=0.0, help="rate of the link; 0: loopback")
    parser.add_argument("--fade", type=float, default=0.0, metavar="MBIT", help="the link's rate for four seconds in between")
    parser.add_argument("--tablets", type=int, default=1)
    parser.add_argument("--window", type=window, default=(1180, 820), help="pixels of each tablet, which the CPU draws (1180x820)")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--json", type=Path, help="also add the result to this file")
    options = parser.parse_args()
    told = measure(options)
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    if options.json:
        before = json.loads(options.json.read_text()) if options.json.exists() else []
        options.json.write_text(json.dumps([*before, told], indent=1) + "\n")


if __name__ == "__main__":
    main()
