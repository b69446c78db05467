"""A clinic for tests: all services, a probe that is held, and a browser on the tablet's page as somebody's hands and eyes."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from chromium import chromium
from free_port import free_port
from PIL import Image
from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from small_device import device_config, held_probe

from edge.config import DicomConfig
from edge.local_device import LocalDevice
from edge.services import SERVICES
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep
from edge.tablet.control import ask

COLUMNS, SPACING_MM = 120, 0.3
PATIENCE_S = 40.0
AGAIN_S = 5.0  # after so long what was pressed in vain is pressed again
MOVED = (StaleElementReferenceException, ElementClickInterceptedException, ElementNotInteractableException)
BUTTON = (
    "const within = document.querySelector('dialog[open]') ?? document;"
    "return [...within.querySelectorAll('button')]"
    ".find((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.innerText.trim() === arguments[0])"
)
NOTE_GROWTH = (
    "if (globalThis.grown) return; globalThis.grown = [];"
    "sonosweep.volume.addEventListener('epoch', () => (globalThis.grown = []));"
    "sonosweep.volume.addEventListener('bricks', () => { const box = sonosweep.volume.bounds_mm;"
    " if (box && sonosweep.state?.sweep?.state === 'sweeping') globalThis.grown.push(box.max[2] - box.min[2]) })"
)


@contextmanager
def clinic(*, dicom: DicomConfig | None = None, **changes: object) -> Iterator[Tablet]:
    """A device with a probe that is held, and the browser on its page, paired by the digits. ``changes``: of the simulation."""
    folder, run_dir = Path(tempfile.mkdtemp(prefix="sono-page-")), tempfile.mkdtemp(prefix="sono-")
    size = {"image_size": (COLUMNS, 100), "spacing_mm": (SPACING_MM, SPACING_MM)}
    settings = SimulationSettings(**{"frames": 160, "frames_per_s": 20.0, **size, **changes})
    write_simulated_sweep(folder / "sweep.igs.mha", simulate_sweep(settings))
    config = device_config(folder, run_dir, port=free_port(), secure=True, dicom=dicom)
    with LocalDevice(config, tuple(SERVICES)) as device, held_probe(folder / "sweep.igs.mha", config, "--no-poses") as probe:
        with chromium() as browser:
            one = Tablet(device, browser, probe)
            one.folder = folder
            one.pair()
            yield one
    shutil.rmtree(folder)
    shutil.rmtree(run_dir)


class Tablet:
    """The browser as somebody's hands and eyes."""

    def __init__(self, device, browser, probe):
        self.device, self.browser, self.probe = device, browser, probe

    def js(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def until(self, script, timeout_s=PATIENCE_S):
        """What it answers; while the browser itself stands still, time does too."""
        deadline = time.monotonic() + timeout_s
        asked = time.monotonic()
        while not (found := self.js(f"return {script}")):
            deadline += max(time.monotonic() - asked - 0.5, 0)
            assert time.monotonic() < deadline, (
                script,
                self.browser.get_log("browser"),
                self.js("return document.body.innerText")[:500],
                self.js("return globalThis.sonosweep && sonosweep.state"),
            )
            time.sleep(0.1)
            asked = time.monotonic()
        return found

    def again(self, act, script):
        """``act``, once more where nothing came of it: a button may be taken away under the finger, and a link be lost, at any time."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            act()
            try:
                return self.until(script, AGAIN_S)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise

    def find(self, css):
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def press(self, words):
        """The button that says so and can be pressed, as a finger would."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(*MOVED):  # in between
                if button := self.js(BUTTON, words):
                    button.click()
                    return
            time.sleep(0.1)
        raise AssertionError(f"no button says {words!r}: {self.js('return document.body.innerText')[:500]}")

    def operates(self):
        """Until the device says that we operate; what it said before, perhaps over a link that is gone, does not count."""
        self.js("sonosweep.state = null")
        self.until("sonosweep.link.open && sonosweep.state && sonosweep.state.operator && sonosweep.state.operator.me")

    def pair(self):
        told = ask(self.device.run_dir, "pair")
        self.browser.get(told["url"].split("#")[0])
        self.until("document.querySelector('#pair-code')")
        self.find("#pair-code").send_keys("12345678" if told["code"] != "12345678" else "87654321", Keys.ENTER)
        self.until("document.querySelector('.wrong') && !document.querySelector('.wrong').hidden")
        self.find("#pair-code").clear()
        self.find("#pair-code").send_keys(told["code"], Keys.ENTER)
        self.until("globalThis.sonosweep && sonosweep.screens && sonosweep.state && sonosweep.state.live")
        self.press("Take over")
        self.operates()

    def swept(self):
        """From START to the review; answers how far the volume reached on the page after each message that came while it ran, in mm."""
        self.js("sonosweep.go('live')")
        self.js(NOTE_GROWTH)
        self.begun(lambda: self.press("START"))
        self.until("sonosweep.screen !== 'live'")
        self.until("sonosweep.checked && sonosweep.state.sweep.state === 'unsaved'")
        return self.js("return globalThis.grown")

    def begun(self, start):
        """Somebody starts while the probe lies still; once there is a sweep, the probe plays."""
        before = self.js("return sonosweep.state.sweep ? sonosweep.state.sweep.id : ''")
        deadline = time.monotonic() + PATIENCE_S
        while not self.probe.still():
            assert time.monotonic() < deadline, "the probe goes on playing"
            time.sleep(0.1)
        self.again(start, f"sonosweep.state.sweep && sonosweep.state.sweep.id !== '{before}'")
        self.probe.move()

    def steady(self):
        """Without the notes that lie over the views: until no banner moves them, and all that there is has been drawn in full."""
        self.js("sonosweep.faults.notes.hidden = true")
        self.until(
            "!document.querySelector('.faults .fault') && !sonosweep.scene.textures.busy"
            " && sonosweep.scene.views.every((view) => !view.rect || !view.stale) && sonosweep.scene.view3d.drawnFull"
        )

    def picture(self, mode="L"):
        return np.asarray(Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert(mode)).astype(int)
