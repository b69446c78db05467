"""Builds pycuda for a machine with or without CUDA, and a driver that runs our kernels on the CPU.

    python tests/fake_cuda/prepare.py --fake FOLDER     FOLDER/libcuda.so.1, FOLDER/libkernels.so and pycuda in FOLDER/site
    python tests/fake_cuda/prepare.py                   pycuda for a real device, into the running environment

pycuda comes as source only and looks for CUDA beside ``which nvcc``, which is wrong on many machines; here cuda.h is looked for
where it is, and for the fake driver taken from PyPI where it is not. Both take about a minute once; a built pycuda is kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PYCUDA = "pycuda>=2024.1.2"
HEADERS = ("nvidia-cuda-runtime>=13", "nvidia-cuda-profiler-api>=13")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*command: str | Path) -> None:
    """Run it in silence; where it fails, end with its own words."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(map(str, command))}: failed, see above")


def header_folder(scratch: Path, anywhere: bool) -> Path:
    """A folder with cuda.h and cudaProfiler.h; ``anywhere`` takes them from PyPI, whose version the driver need not have."""
    nvcc = shutil.which("nvcc")
    toolkits = [Path("/usr/local/cuda"), *sorted(Path("/usr/local").glob("cuda-*"), reverse=True)]
    for folder in [*toolkits, *([Path(nvcc).resolve().parents[1]] if nvcc else [])]:
        if all((folder / "include" / name).exists() for name in ("cuda.h", "cudaProfiler.h")):
            return folder / "include"
    if not anywhere:
        sys.exit("cuda.h or cudaProfiler.h is missing: sudo apt install cuda-cudart-dev-12-6 cuda-profiler-api-12-6 (your CUDA's version)")
    run(*PIP, "install", "--no-deps", "--target", scratch / "headers", *HEADERS)
    return next((scratch / "headers").rglob("cuda.h")).parent


def build_pycuda(libcuda: Path, target: Path | None) -> None:
    """Build pycuda and link it to the library in this folder; into ``target``, else into this environment for a real device."""
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.exit("Python.h is missing, without which pycuda cannot be built: sudo apt install python3-dev")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        run(*PIP, "download", "--no-deps", "--no-binary", "pycuda", "--no-build-isolation", "--dest", scratch, PYCUDA)
        shutil.unpack_archive(next(scratch.glob("pycuda-*.tar.gz")), scratch)
        source = next(path for path in scratch.glob("pycuda-*") if path.is_dir())
        settings = {
            "CUDA_INC_DIR": [str(header_folder(scratch, target is not None))],
            "CUDADRV_LIB_DIR": [str(libcuda)],
            "CUDA_ENABLE_CURAND": False,
            "CXXFLAGS": ["-O0", "-g0", "-w"] if target else ["-w"],
        }
        (source / "siteconf.py").write_text("".join(f"{key} = {value!r}\n" for key, value in settings.items()))
        where = ["--no-deps", "--upgrade", "--target", str(target)] if target else []
        run(*PIP, "install", "--no-build-isolation", *where, source)


def build_driver(folder: Path) -> None:
    """The driver and the kernels that it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = ("-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")
    library = folder / "libcuda.so.1"
    run("gcc", *flags, HERE / "fake_libcuda.c", "-o", library, f"-Wl,-soname,{library.name}", "-ldl", "-pthread")
    run("g++", *flags, "-std=c++17", "-ffp-contract=off", HERE / "kernels_on_cpu.cpp", "-o", folder / "libkernels.so")
    link = folder / "libcuda.so"
    link.unlink(missing_ok=True)
    link.symlink_to(library.name)


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fake", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.fake:
        build_driver(options.fake)
        if not (options.fake / "site" / "pycuda").is_dir():
            build_pycuda(options.fake.resolve(), options.fake / "site")
    elif importlib.util.find_spec("pycuda") is None:
        with tempfile.TemporaryDirectory() as folder:
            build_driver(Path(folder))  # only its names are needed to link; the device's own driver is loaded
            build_pycuda(Path(folder), None)


if __name__ == "__main__":
    main()
