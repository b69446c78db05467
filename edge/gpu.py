"""The GPU itself: what it is, and whether it can be used. Light, so that whoever only asks begins at once.

The driver is asked by ctypes before any library that needs it is touched: TensorRT without a driver ends the process.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge.errors import SonosweepError

ATTRIBUTES = (75, 76, 16, 18)  # CUdevice_attribute: compute capability major, minor; multiprocessors; integrated
DRIVER = (Path("/proc/driver/nvidia/version"), re.compile(r"Kernel Module.*?\s(\d+\.\d+[.\d]*)"))
L4T = (Path("/etc/nv_tegra_release"), re.compile(r"R(\d+) .*REVISION: ([\d.]+)"))
NODES = ("nvidia*", "nvhost*", "nvgpu/*/*", "nvmap", "host1x-fence", "dri/*")  # in /dev, of desks and of Jetsons
RUNTIMES = (Path("/usr/local/cuda"), Path("/usr/lib"))


class NoDevice(SonosweepError):
    """This machine has no CUDA device that can be used."""


class Device(NamedTuple):
    """Device 0. ``cuda``: the newest CUDA its driver runs, 12060 for 12.6; ``driver``: its version, empty where it is not told.

    ``integrated``: it shares the CPU's memory, as on a Jetson.
    """

    name: str
    compute_capability: str  # "8.7"
    sm_count: int
    cuda: int
    driver: str
    integrated: bool = False

    @property
    def architecture(self) -> str:
        """As compilers call it: sm_87."""
        return f"sm_{self.compute_capability.replace('.', '')}"


def probe() -> Device:
    """Ask the driver; takes no device memory and never crashes. ``NoDevice`` says what is lacking, with the cure."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as wrong:
        raise NoDevice("libcuda.so.1 is not installed; install the NVIDIA driver") from wrong
    count, version, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if status := driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        raise NoDevice(f"the NVIDIA driver offers no device (CUDA error {status}); see what nvidia-smi says")
    if not count.value:
        raise NoDevice("this machine has no CUDA device")
    values = [ctypes.c_int() for _ in ATTRIBUTES]
    status = driver.cuDriverGetVersion(ctypes.byref(version)) or driver.cuDeviceGet(ctypes.byref(device), 0)
    status = status or driver.cuDeviceGetName(name, len(name), device)
    for value, attribute in zip(values, ATTRIBUTES, strict=True):
        status = status or driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    if status:
        raise NoDevice(f"the NVIDIA driver does not describe its device (CUDA error {status}); see what nvidia-smi says")
    major, minor, sm_count, integrated = (value.value for value in values)
    return Device(name.value.decode(errors="replace"), f"{major}.{minor}", sm_count, version.value, _read(*DRIVER), bool(integrated))


def missing() -> str:
    """What is lacking to compute on a GPU through pycuda, with the cure; empty where nothing is."""
    try:
        probe()
    except NoDevice as wrong:
        return str(wrong)
    if importlib.util.find_spec("pycuda") is None:
        return "pycuda is not installed; run: pip install 'sonosweep[cuda]' (it is compiled: CUDA toolkit and g++ are needed)"
    try:
        importlib.import_module("pycuda.driver")
    except ImportError as wrong:
        return f"pycuda does not fit this driver or this Python ({wrong}); build it again: pip install --force-reinstall pycuda"
    return ""


def cuda_runtime() -> str:
    """Version of the system's CUDA runtime, as 12.6.68 (or 13, where its file says no more); empty where there is none.

    By the names of its files: which runtime a process would load depends on what it has loaded before.
    """
    found = (file.name.removeprefix("libcudart.so.") for folder in RUNTIMES for file in folder.glob("*/libcudart.so.*"))
    return max(found, key=lambda version: (len(version), version), default="")


def l4t() -> str:
    """The Jetson's system, as 36.4.3; empty on other machines."""
    return _read(*L4T)


def nodes(dev: Path = Path("/dev")) -> list[str]:
    """The device nodes of GPUs that there are at the moment."""
    return sorted(str(path) for pattern in NODES for path in dev.glob(pattern))


def _read(path: Path, pattern: re.Pattern[str]) -> str:
    with suppress(OSError):
        if found := pattern.search(path.read_text(errors="replace")):
            return ".".join(found.groups())
    return ""
