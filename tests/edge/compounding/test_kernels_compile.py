"""The kernels compile for every device we name, spill no register, and take the arguments that the backend hands them."""

from __future__ import annotations

import ctypes
import re
import shutil

import pytest

import edge.caches as caches
from edge.compounding import cubins, device, filling

ARCHITECTURES = ("sm_87", "sm_90", "sm_110")  # Orin, the server GPUs we can try on, Thor
MOST_REGISTERS = 80  # at 256 threads a block, three blocks fit a multiprocessor


@pytest.fixture(scope="module")
def nvrtc():
    """NVRTC 13 or newer, which knows all these architectures."""
    for path in cubins._nvrtc_paths():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        if major.value >= 13:
            return library
    pytest.skip("NVRTC 13 is not installed: pip install nvidia-cuda-nvrtc")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_builds_every_kernel_without_spills(nvrtc, architecture, record_property):
    code, said = cubins.nvrtc(nvrtc, architecture, (*cubins.OPTIONS, "--ptxas-options=-v"))
    registers = {}
    for name, report in re.findall(r"entry function '(\w+)'(.*?Used \d+ registers)", said, re.DOTALL):
        assert "0 bytes spill stores, 0 bytes spill loads" in report, f"{name} spills on {architecture}"
        registers[name] = int(re.search(r"Used (\d+) registers", report)[1])
    assert registers.keys() == device.ARGUMENTS.keys()
    assert max(registers.values()) <= MOST_REGISTERS, registers
    record_property("registers", registers)
    assert code[:4] == b"\x7fELF"
    assert all(name.encode() in code for name in device.ARGUMENTS)


def test_nvcc_takes_the_same_file():
    nvcc = shutil.which("nvcc") or shutil.which(cubins.CUDA / "bin" / "nvcc")
    if not nvcc:
        pytest.skip("nvcc is not installed: apt install cuda-nvcc")
    code = cubins.with_nvcc(nvcc, "sm_87")
    assert code[:4] == b"\x7fELF"
    assert all(name.encode() in code for name in device.ARGUMENTS)


def test_a_compiler_that_refuses_is_quoted(nvrtc):
    with pytest.raises(cubins.KernelsDoNotCompile, match="sm_20"):
        cubins.with_nvrtc(nvrtc, "sm_20")


def test_arguments_are_packed_as_the_kernels_declare_them():
    source = cubins.SOURCE.read_text()
    for mode, name in (("MEAN", "mean"), ("MAXIMUM", "maximum"), ("LATEST", "latest")):
        assert f"PLACE_KERNEL(place_{name}, {mode})" in source
    source = source.replace("KERNEL name(", "KERNEL place_mean(").replace("\\\n", " ")
    found = {}
    for name, declared in re.findall(r"KERNEL (\w+)\(([^)]*)\)", source):
        kinds = [argument.strip().rsplit(" ", 1)[0] for argument in declared.split(",")]
        found[name] = "".join("P" if "*" in kind else {"int": "i"}[kind] for kind in kinds)
    found |= {"place_maximum": found["place_mean"], "place_latest": found["place_mean"]}
    assert found == device.ARGUMENTS


def test_numbers_that_python_repeats_are_those_of_the_kernels():
    header = cubins.HEADER.read_text()
    numbers = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+),", header)}
    assert device.BRICK_VOXELS == numbers["BRICK_VOXELS"]
    assert 1 << numbers["POOL_BITS"] == device.CHUNK_BRICKS
    assert numbers["MAX_RADIUS"] == filling.MAX_RADIUS
    assert device.HALO_VOXELS == (numbers["BRICK_EDGE"] + 2 * numbers["MAX_RADIUS"]) ** 3
    assert device.BLOCK[0] % numbers["LANES"] == 0


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folders = [tmp_path / "system", tmp_path / "home"]
    monkeypatch.setattr(caches, "CACHES", folders)
    return folders


def built(code):
    return lambda version: iter([cubins.Compiler("test", 13, lambda architecture: code)])


def test_a_cubin_is_built_once_and_kept_whole(cache, monkeypatch):
    monkeypatch.setattr(cubins, "compilers", built(b"one"))
    assert cubins.cubin("sm_87", 13) == b"one"
    monkeypatch.setattr(cubins, "compilers", built(b"two"))
    assert cubins.cubin("sm_87", 13) == b"one"
    assert cubins.cubin("sm_90", 13) == b"two"
    assert cubins.cubin("sm_87", 12) == b"two", "an older driver needs an older compiler's code"
    assert not cache[0].exists(), "the services make their own cache"
    assert len(list(cache[1].iterdir())) == 3


def test_the_services_cache_comes_first_and_an_unwritable_one_is_no_error(cache, monkeypatch):
    monkeypatch.setattr(cubins, "compilers", built(b"one"))
    cache[1].write_bytes(b"a file where a folder should be")
    assert cubins.cubin("sm_87", 13) == b"one"
    cache[0].mkdir()
    assert cubins.cubin("sm_87", 13) == b"one"
    assert [path.name for path in cache[0].iterdir()] == [cubins.cache_name("sm_87", 13)]


def test_without_a_compiler_a_kept_cubin_is_enough(cache, monkeypatch):
    monkeypatch.setattr(cubins, "compilers", lambda version: iter(()))
    assert "apt: cuda-nvrtc-12-6" in cubins.missing("sm_87", 12)
    with pytest.raises(cubins.BackendUnavailable, match="no compiler for sm_87"):
        cubins.cubin("sm_87", 12)
    cache[0].mkdir()
    (cache[0] / cubins.cache_name("sm_87", 12)).write_bytes(b"kept")
    assert cubins.missing("sm_87", 12) == ""
    assert cubins.cubin("sm_87", 12) == b"kept"


def test_another_source_is_another_cubin(cache, monkeypatch, tmp_path):
    before = cubins.cache_name("sm_87", 13)
    changed = tmp_path / "kernels.cu"
    changed.write_bytes(cubins.SOURCE.read_bytes() + b"\n")
    monkeypatch.setattr(cubins, "SOURCE", changed)
    assert cubins.cache_name("sm_87", 13) != before


def test_no_compiler_newer_than_the_driver_is_taken():
    assert list(cubins.compilers(1)) == []
