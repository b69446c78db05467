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
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from small_device import device_config, held_probe

from edge.config import DicomConfig
from edge.local_device import LocalDevice
from edge.services import SERVICES
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep
from edge.tablet.control import ask

COLUMNS, SPACING_MM = 120, 0.3


@contextmanager
def clinic(*, dicom: DicomConfig | None = None, **changes: object) -> Iterator[Tablet]:
    """A device with a probe that is held, and the browser on its page, paired by the digits. ``changes``: of the simulation."""
    folder, run_dir = Path(tempfile.mkdtemp(prefix="sono-page-")), tempfile.mkdtemp(prefix="sono-")
    size = {"image_size": (COLUMNS, 100), "spacing_mm": (SPACING_MM, SPACING_MM)}
    settings = SimulationSettings(**{"frames": 160, "frames_per_s": 20.0, **size, **changes})
    write_simulated_sweep(folder / "sweep.igs.mha", simulate_sweep(settings))
    config = device_config(folder, run_dir, port=free_port(), secure=True, dicom=dicom)
    with LocalDevice(config, tuple(SERVICES)) as device, chromium() as browser:
        with held_probe(folder / "sweep.igs.mha", config, "--no-poses") as probe:
            one = Tablet(device, browser, probe)
            one.folder, one.plays_s = folder, settings.frames / settings.frames_per_s + 1.0
            one.plays_until = time.monotonic() + one.plays_s  # it plays once before it lies still
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

    def until(self, script, timeout_s=40.0):
        deadline = time.monotonic() + timeout_s
        while not (found := self.js(f"return {script}")):
            assert time.monotonic() < deadline, (
                script,
                self.browser.get_log("browser"),
                self.js("return document.body.innerText")[:500],
                self.js("return globalThis.sonosweep && sonosweep.state"),
            )
            time.sleep(0.1)
        return found

    def find(self, css):
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def press(self, words):
        """The button that says so, as a finger would."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            within = "dialog[open] button" if self.js("return document.querySelector('dialog[open]') !== null") else "button"
            with contextlib.suppress(StaleElementReferenceException):  # a list was drawn anew in between
                for button in self.browser.find_elements(By.CSS_SELECTOR, within):
                    if button.is_displayed() and button.text.strip() == words:
                        button.click()
                        return
        raise AssertionError(f"no button says {words!r}")

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
        self.until("sonosweep.state.operator && sonosweep.state.operator.me")

    def swept(self):
        self.until("sonosweep.state.services.bridge === 'receiving'")
        self.js("sonosweep.go('live')")
        self.until("!document.querySelector('.start').disabled")
        self.begun(lambda: self.press("START"))
        seen = []
        while self.js("return sonosweep.screen") == "live":
            seen.append(self.js("return sonosweep.volume.counts.measured"))
            time.sleep(0.2)
        self.until("sonosweep.checked && sonosweep.state.sweep.state === 'unsaved'")
        return seen

    def begun(self, start):
        """Somebody starts, and the probe plays."""
        before = self.js("return sonosweep.state.sweep ? sonosweep.state.sweep.id : ''")
        time.sleep(max(self.plays_until - time.monotonic(), 0))
        start()
        self.until("sonosweep.state.services.bridge === 'receiving'")
        self.probe.stdin.write(b"\n")
        self.probe.stdin.flush()
        self.plays_until = time.monotonic() + self.plays_s
        self.until(f"sonosweep.state.sweep && sonosweep.state.sweep.id !== '{before}'")

    def picture(self, mode="L"):
        return np.asarray(Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert(mode)).astype(int)
