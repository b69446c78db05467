"""Volumes on every backend: tests that ask for ``opened`` run on the host, and as ``gpu`` tests on CUDA.

Without a GPU, ``make fake-gpu-check`` runs the gpu tests through the real pycuda on a driver that computes on the CPU.
"""

import pytest

import edge.caches as caches
from edge.compounding import missing, open_compounder


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory):
    """Where cubins are kept, so that tests write into nobody's home."""
    return tmp_path_factory.mktemp("cubins")


@pytest.fixture
def needs_cuda(kernel_cache, monkeypatch):
    """Skips the test where CUDA cannot run, and says what is lacking."""
    monkeypatch.setattr(caches, "CACHES", [kernel_cache / "never", kernel_cache])
    if lack := missing("cuda"):
        pytest.skip(f"cuda: {lack.split(';')[0]}; without a GPU: make fake-gpu-check")


@pytest.fixture(params=["host", pytest.param("cuda", marks=pytest.mark.gpu)])
def compounder_backend(request):
    """The name of the backend under test."""
    if request.param == "cuda":
        request.getfixturevalue("needs_cuda")
    return request.param


@pytest.fixture
def opened(compounder_backend):
    """``open_compounder`` on the backend under test."""
    return lambda settings, threads=0: open_compounder(compounder_backend, settings, threads)
