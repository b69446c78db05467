"""The kernels as machine code for one GPU architecture: built by NVRTC or nvcc where a cache has none, byte for byte reproducible.

A cubin needs no compiler where it runs. They are kept in /var/cache/sonosweep where the services have made it, else in
~/.cache/sonosweep; an image for a device may bring them along.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import edge.caches as caches
from edge.compounding import BackendUnavailable

SOURCE = Path(__file__).with_name("kernels.cu")
HEADER = Path(__file__).with_name("portable.cuh")
OPTIONS = ("-fmad=false",)  # a multiply-add that rounds once would move voxels against the host
CUDA = Path("/usr/local/cuda")
CURE = "install CUDA's nvcc or NVRTC of that version (apt: cuda-nvrtc-12-6, pip: nvidia-cuda-nvrtc or nvidia-cuda-nvrtc-cu12)"


class KernelsDoNotCompile(BackendUnavailable):
    """The compiler refused our kernels; its own words follow."""


class Compiler(NamedTuple):
    """A compiler of CUDA ``version``; ``build`` takes an architecture such as sm_87 and answers with a cubin."""

    name: str
    version: int
    build: Callable[[str], bytes]


def cubin(architecture: str, cuda_version: int) -> bytes:
    """Code for ``architecture`` that a driver of this major CUDA version loads, from a cache or built now.

    Raises BackendUnavailable without a compiler, KernelsDoNotCompile.
    """
    name = cache_name(architecture, cuda_version)
    folders = caches.cache_folders()
    for folder in folders:
        with suppress(OSError):
            return (folder / name).read_bytes()
    compiler = next(compilers(cuda_version), None)
    if compiler is None:
        raise BackendUnavailable(f"cuda: {missing(architecture, cuda_version)}")
    built = compiler.build(architecture)
    for folder in folders:
        with suppress(OSError):  # a cache that cannot be written costs a second at the next start and nothing else
            if folder != caches.CACHES[0]:
                folder.mkdir(parents=True, exist_ok=True)
            _keep(folder / name, built)
            break
    return built


def missing(architecture: str, cuda_version: int) -> str:
    """Why no code for this architecture can be had, with the cure; empty where it can."""
    name = cache_name(architecture, cuda_version)
    if any((folder / name).exists() for folder in caches.cache_folders()) or next(compilers(cuda_version), None):
        return ""
    return f"no compiler for {architecture} that fits a driver of CUDA {cuda_version} is installed; {CURE}"


def cache_name(architecture: str, cuda_version: int) -> str:
    """The file's name: it changes with the sources and options, so that an old build is never taken for a new one."""
    parts = [SOURCE.read_bytes(), HEADER.read_bytes(), " ".join(OPTIONS).encode()]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    return f"kernels-{architecture}-cuda{cuda_version}-{key}.cubin"


def compilers(cuda_version: int) -> Iterator[Compiler]:
    """Compilers whose code a driver of this major CUDA version loads: none newer than it. NVRTC before nvcc, which needs g++."""
    for path in _nvrtc_paths():
        with suppress(OSError):
            library = ctypes.CDLL(path)
            major, minor = ctypes.c_int(), ctypes.c_int()
            if library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0 and major.value <= cuda_version:
                yield Compiler(f"NVRTC {major.value}.{minor.value}", major.value, partial(with_nvrtc, library))
    command = shutil.which("nvcc") or shutil.which(CUDA / "bin" / "nvcc")
    if command:
        said = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"release (\d+)\.(\d+)", said)
        if found and int(found[1]) <= cuda_version:
            yield Compiler(f"nvcc {found[1]}.{found[2]}", int(found[1]), partial(with_nvcc, command))


def with_nvrtc(library: ctypes.CDLL, architecture: str, options: tuple[str, ...] = OPTIONS) -> bytes:
    """Compile with this NVRTC."""
    return nvrtc(library, architecture, options)[0]


def nvrtc(library: ctypes.CDLL, architecture: str, options: tuple[str, ...]) -> tuple[bytes, str]:
    """The cubin and what NVRTC said (registers and spills with ``--ptxas-options=-v``)."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    headers, names = (ctypes.c_char_p * 1)(HEADER.read_bytes()), (ctypes.c_char_p * 1)(HEADER.name.encode())
    if library.nvrtcCreateProgram(ctypes.byref(program), SOURCE.read_bytes(), SOURCE.name.encode(), 1, headers, names):
        raise KernelsDoNotCompile("cuda: NVRTC does not start; install it again (pip: nvidia-cuda-nvrtc)")
    words = [f"--gpu-architecture={architecture}".encode(), *(option.encode() for option in options)]
    try:
        status = library.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        said = log.value.decode(errors="replace")
        if status:
            raise KernelsDoNotCompile(f"cuda: NVRTC cannot build for {architecture}: {said.strip() or f'status {status}'}; {CURE}")
        library.nvrtcGetCUBINSize(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        library.nvrtcGetCUBIN(program, code)
        return code.raw, said
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def with_nvcc(command: str, architecture: str, options: tuple[str, ...] = OPTIONS) -> bytes:
    """Compile with nvcc."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "kernels.cubin")
        done = subprocess.run(
            [command, "-cubin", f"-arch={architecture}", *options, "-o", str(out), str(SOURCE)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise KernelsDoNotCompile(f"cuda: nvcc cannot build for {architecture}: {done.stderr.strip()}; {CURE}")
        return out.read_bytes()


def _nvrtc_paths() -> Iterator[str]:
    """Where NVRTC may be: Python packages, the loader's own places, the toolkit's."""
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from map(str, sorted(Path(place).glob("*/lib/libnvrtc.so.*"), reverse=True))
    yield from ("libnvrtc.so.13", "libnvrtc.so.12")
    yield from map(str, sorted(CUDA.glob("lib64/libnvrtc.so.*"), reverse=True))


def _keep(path: Path, built: bytes) -> None:
    """Write whole or not at all: a cut must not leave half a cubin under the name of a good one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(built)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
