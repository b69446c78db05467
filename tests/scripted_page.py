"""The tablet's page against a device that a test plays itself: what takes luck or a minute with a real one takes milliseconds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chromium import chromium, files_at

HERE = Path(__file__).parent
HELLO = {
    "type": "hello", "protocol": 1, "device": "test", "version": "0", "role": "operator", "secure": True, "languages": ["en"],
    "presets": [{"name": "general", "body_part": "", "side": "", "direction": "", "view": "alpha"}], "product": "", "logo": "",
    "features": {},
}  # fmt: skip
IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]


def sweep(name: str, epoch: int, **more: Any) -> dict[str, Any]:
    """As ``state`` tells it."""
    about = {"id": name, "state": "unsaved", "epoch": epoch, "elapsed_s": 4.0, "frames": 9, "placed": 9, "lost": 0, "length_mm": 9.0}
    about |= {"drift_mm": None, "direction": "+", "direction_source": "operator", "motion": "tracked", "recording": "stopped"}
    return about | {"recorded_frames": 9, "ended": "last", "exam": {"patient_name": name}} | more


def listed(name: str, **more: Any) -> dict[str, Any]:
    """As ``library`` tells it."""
    return sweep(name, 0, created="2026-11-27T17:00:00Z", volume=True, measures=[], files=[]) | more


class ScriptedPage:
    """The browser's page; ``tell`` is what the device says."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address

    def js(self, script: str, *words: Any) -> Any:
        """What a script answers; a promise is waited for."""
        return self.browser.execute_script(script, *words)

    def until(self, script: str, patience_s: float = 10.0) -> Any:
        """Until an expression is true; answers it."""
        deadline = time.monotonic() + patience_s
        while not (found := self.js(f"return {script}")):
            assert time.monotonic() < deadline, (script, self.js("return errors"), self.js("return document.body.innerText")[:400])
            time.sleep(0.02)
        return found

    def open(self, sweeps: list[dict[str, Any]] | None = None, **state: Any) -> None:
        """A new page on its Live screen; the library is told where there is one."""
        self.browser.get(f"{self.address}/page/index.html")
        self.until("globalThis.sonosweep && sonosweep.link.open")
        self.tell(HELLO)
        self.epoch("live", 0)
        if sweeps is not None:
            self.library(*sweeps)
        self.state(**state)

    def tell(self, message: dict[str, Any]) -> None:
        self.js("device.tell(arguments[0])", message)

    def epoch(self, source: str, number: int) -> None:
        """Another volume, with a path of one pose."""
        self.tell({"type": "epoch", "epoch": number, "source": source, "spacing_mm": 0.5})
        self.tell({"type": "path", "epoch": number, "poses": [[0, 0.0, 0, *IDENTITY]] if number else []})
        self.tell({"type": "light", "epoch": number, "channels": []})

    def library(self, *sweeps: dict[str, Any]) -> None:
        self.tell({"type": "library", "sweeps": list(sweeps)})

    def state(self, **more: Any) -> None:
        """``state`` of a device at rest, but for what is named."""
        live = {"frames_per_s": 20, "width": 64, "height": 48, "spacing_mm": [0.2, 0.2], "modality": "bmode", "frozen": False}
        guide = {"speed_mm_s": None, "limit_mm_s": 9.0, "verdict": "none", "coverage": []}
        told = {"type": "state", "time_ms": 0, "clients": 1, "operator": {"name": "iPad", "me": True}, "quality": "full", "guide": guide}
        told |= {
            "services": {"bridge": "receiving", "run": "idle", "record": "idle"},
            "sweep": None,
            "exam": {},
            "preset": 0,
            "direction": "",
        }
        told |= {
            "live": live | {"age_ms": 20, "mechanical_index": None, "thermal_index": None, "contact": True},
            "pairing": None,
            "faults": [],
        }
        told |= {"storage": {"free_mib": 9000, "minutes": 50}, "battery": None, "temperature": None}
        self.tell(told | {"clock": {"now": "2026-11-27T17:00:00Z", "trusted": True, "source": "network"}} | more)

    def said(self, action: str) -> list[dict[str, Any]]:
        """The page's commands of this name since this was asked last."""
        return self.js(
            "const [mine, rest] = [[], []]; for (const one of device.said) (one.do === arguments[0] ? mine : rest).push(one);"
            " device.said = rest; return mine", action,
        )  # fmt: skip


@contextmanager
def scripted_page() -> Iterator[ScriptedPage]:
    with tempfile.TemporaryDirectory() as folder, files_at(Path(folder)) as address, chromium() as browser:
        (Path(folder) / "page").symlink_to(HERE.parent / "edge" / "tablet" / "page")
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": (HERE / "scripted_device.js").read_text()})
        yield ScriptedPage(browser, address)
