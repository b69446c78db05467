"""The renderer of the tablet's page in a real browser, fed by the device's own code, without services."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from chromium import chromium, files_at
from numpy.typing import NDArray
from PIL import Image

from edge.files.volumes import Volume
from edge.tablet import wire
from edge.tablet.feed import ClientFeed
from edge.tablet.store import BrickStore

HERE = Path(__file__).parent
HALF = 192  # CSS px: each of the four views is so wide and high
VIEWS = {"3d": (0, 0), "lateral-axial": (1, 0), "elevational-axial": (0, 1), "lateral-elevational": (1, 1)}
SPACING_MM = 0.5


def sent(feed: ClientFeed) -> list[bytes]:
    """All brick messages that are due, each acknowledged at once."""
    messages = []
    while (message := feed.next_bricks(0.0)) is not None:
        messages.append(message)
        told = wire.decode(message)
        feed.ack(told.kind, told.seq, 0.0)
    return messages


def block(
    intensity: NDArray[np.uint8], state: NDArray[np.uint8] | int = 1, origin_mm: tuple[float, float, float] = (-6.0, 3.0, -10.0)
) -> Volume:
    """A volume [k, j, i] whose voxels are all of this state."""
    return Volume(intensity, origin_mm, SPACING_MM, state=np.broadcast_to(np.uint8(state), intensity.shape).copy())


class Viewer:
    """The page's renderer, and a device that fills it."""

    def __init__(self, browser) -> None:
        self.browser, self.epoch = browser, 0

    def js(self, body: str, *words):
        """What the body of an async function answers; `viewer` is tests/viewer_page/drive.js."""
        script = f"""const done = arguments[arguments.length - 1];
        (async (...words) => {{ {body} }})(...[...arguments].slice(0, -1)).then(
          (value) => done([value]),
          (wrong) => done({{wrong: `${{wrong.stack}}`}}));"""
        answer = self.browser.execute_async_script(script, *words)
        assert isinstance(answer, list), answer["wrong"]
        return answer[0]

    @staticmethod
    def text(data: bytes) -> str:
        """Bytes for `js`, which takes only what JSON does; `viewer.bytes` unpacks them."""
        return base64.b64encode(data).decode()

    def open(self, **limits) -> None:
        self.js("viewer.open(words[0])", limits)

    def begin(self) -> ClientFeed:
        """A new epoch, and the device's idea of what the page holds."""
        self.epoch += 1
        self.js("viewer.volume.epoch({epoch: words[0], spacing_mm: words[1], source: 'test'})", self.epoch, SPACING_MM)
        return ClientFeed()

    def take(self, messages: list[bytes]) -> None:
        self.js("await viewer.take(words[0])", [self.text(message) for message in messages])

    def show(self, *volumes: Volume) -> BrickStore:
        """Volumes of channel 0, 1, as a sweep that was opened."""
        feed, store = self.begin(), BrickStore()
        for channel, volume in enumerate(volumes):
            store.load(volume, channel)
        feed.show(store, self.epoch, complete=True)
        self.take(sent(feed))
        return store

    def set3d(self, **settings) -> None:
        self.js("Object.assign(viewer.scene.view3d, words[0])", settings)

    def picture(self) -> dict[str, NDArray[np.int64]]:
        """View -> [row, column, RGB], all drawn at full detail."""
        png = base64.b64decode(self.js("return viewer.picture()"))
        whole = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        return {name: whole[y * HALF : (y + 1) * HALF, x * HALF : (x + 1) * HALF] for name, (x, y) in VIEWS.items()}


@contextmanager
def viewing(*flags: str) -> Iterator[Viewer]:
    with tempfile.TemporaryDirectory() as folder, files_at(Path(folder)) as address, chromium((2 * HALF, 2 * HALF), flags=flags) as browser:
        (Path(folder) / "page").symlink_to(HERE.parent / "edge" / "tablet" / "page")
        for path in (HERE / "viewer_page").iterdir():
            (Path(folder) / path.name).symlink_to(path)
        browser.get(f"{address}/index.html")
        viewer = Viewer(browser)
        viewer.js("while (!globalThis.viewer) await new Promise((resolve) => setTimeout(resolve, 10))")
        viewer.open()
        yield viewer
        assert viewer.js("return viewer.errors") == [], "an error that nobody caught"
