"""What the CUDA backend says where it cannot run: one sentence each, with the cure, and never a crash."""

from __future__ import annotations

import importlib
import importlib.util
from types import SimpleNamespace

import pytest

import edge.gpu as gpu
from edge.compounding import BACKENDS, BackendUnavailable, VolumeSettings, cubins, cuda, native, open_compounder


def driver(devices=1, status=0):
    """A libcuda that answers so."""

    def count(pointer):
        pointer._obj.value = devices
        return 0

    def version(pointer):
        pointer._obj.value = 12060
        return 0

    def attribute(pointer, which, device):
        pointer._obj.value = {75: 8, 76: 7, 16: 8, 18: 0}[which]
        return 0

    return SimpleNamespace(
        cuInit=lambda flags: status,
        cuDeviceGetCount=count,
        cuDriverGetVersion=version,
        cuDeviceGet=lambda pointer, number: 0,
        cuDeviceGetName=lambda text, length, device: 0,
        cuDeviceGetAttribute=attribute,
    )


@pytest.fixture
def machine(monkeypatch):
    """A machine with everything, piece by piece; parts of it are taken away by the tests."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name == "pycuda" else real(name))
    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace())
    monkeypatch.setattr(native, "missing", lambda: "")
    monkeypatch.setattr(cubins, "missing", lambda architecture, version: "")

    def have(library):
        def load(name):
            if library is None:
                raise OSError(name)
            return library

        monkeypatch.setattr(gpu.ctypes, "CDLL", load)

    have(driver())
    return SimpleNamespace(have=have, patch=monkeypatch.setattr)


def test_a_machine_with_everything_lacks_nothing(machine):
    assert cuda.missing() == ""


def test_without_pycuda(machine):
    machine.patch(importlib.util, "find_spec", lambda name: None)
    assert "pycuda is not installed" in cuda.missing()
    assert "pip install" in cuda.missing()


def test_without_a_driver(machine):
    machine.have(None)
    assert cuda.missing() == "libcuda.so.1 is not installed; install the NVIDIA driver"


def test_with_a_driver_that_does_not_start(machine):
    machine.have(driver(status=999))
    assert "error 999" in cuda.missing()


def test_without_a_device(machine):
    machine.have(driver(devices=0))
    assert cuda.missing() == "this machine has no CUDA device"


def test_with_a_pycuda_of_another_machine(machine):
    def fails(name):
        raise ImportError("undefined symbol: cuArrayCreate_v2")

    machine.patch(importlib, "import_module", fails)
    assert "cuArrayCreate_v2" in cuda.missing()
    assert "build it again" in cuda.missing()


def test_without_a_compiler_that_fits_the_driver(machine):
    machine.patch(cubins, "missing", lambda architecture, version: f"no compiler for {architecture}, CUDA {version}")
    assert cuda.missing() == "no compiler for sm_87, CUDA 12"


def test_without_the_kernel_library(machine):
    machine.patch(native, "missing", lambda: "not built; pip install .")
    assert cuda.missing() == "not built; pip install ."


def test_a_named_backend_is_refused_with_its_reason_and_auto_goes_on(monkeypatch):
    monkeypatch.setattr(cuda, "missing", lambda: "this machine has no CUDA device")
    for refused in (lambda: open_compounder("cuda", VolumeSettings()), lambda: cuda.Compounder(VolumeSettings())):
        with pytest.raises(BackendUnavailable, match=r"^cuda: this machine has no CUDA device$"):
            refused()
    assert next(iter(BACKENDS)) == "cuda"
    with open_compounder("auto", VolumeSettings()) as volume:
        assert volume.backend == "host"
