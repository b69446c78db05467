"""A real browser for tests: Debian's Chromium without a window, WebGL on the CPU (SwiftShader), driven by its chromedriver."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("chromium", "chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-certificate-errors",
    "--hide-scrollbars",
    "--disable-gpu-vsync",
    "--mute-audio",
)


def missing() -> str:
    """What a browser test lacks on this machine, with the cure; empty where nothing is."""
    if lacks := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"{' and '.join(lacks)} not installed: sudo apt install chromium chromium-driver"
    return ""


@contextmanager
def chromium(size: tuple[int, int] = (1180, 820), profile: Path | None = None, flags: tuple[str, ...] = ()) -> Iterator:
    """A browser whose page is ``size`` CSS pixels wide and high; ``profile``: a folder that keeps cookies between two of them."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, *flags, f"--window-size={size[0]},{size[1]}", *([f"--user-data-dir={profile}"] if profile else [])):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_script_timeout(60)
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        )
        yield driver
    finally:
        driver.quit()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}  # noqa: RUF012

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def files_at(folder: Path) -> Iterator[str]:
    """``folder`` over http on the loopback; yields the address, as http://127.0.0.1:PORT."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
