"""Builds the kernel library: one shared object with a C interface, so that one wheel serves every Python.

``python setup.py build_ext --inplace`` puts it beside its Python; pip and build do so through pyproject.toml. The compiler is
``CXX``, else c++, g++ or clang++.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools below 70.1 can build in place all the same; pyproject.toml asks for a newer one for wheels
    bdist_wheel = None

HERE = Path(__file__).parent
SOURCES = Path("edge", "compounding")
LIBRARY = "libsonosweep_kernels.so"
# No contraction: a multiply-add that rounds once would move voxels between machines (the CUDA build has -fmad=false).
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",  # without it GCC leaves loops with a division scalar; values are the same
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-pthread",
]
V3 = ["-mavx2", "-mbmi", "-mbmi2", "-mfma"]
V4 = [*V3, "-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
VARIANTS = {  # name in C: further flags; the library chooses at run time. -mtune: only so does GCC 12 gather in one instruction
    "x86_64": {"x86_64": [], "x86_64_v3": [*V3, "-mtune=haswell"], "x86_64_v4": [*V4, "-mtune=skylake-avx512"]},
    "other": {"baseline": []},
}


class CompilerMissing(SystemExit):
    """No C++ compiler was found; the message names the package."""


def compiler():
    """The compiler's command line as a list."""
    named = shlex.split(os.environ.get("CXX", ""))
    for candidate in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(candidate[0]):
            return candidate
    raise CompilerMissing(
        "sonosweep needs a C++ compiler to build its kernels and found none. On Debian, Ubuntu or Jetson: sudo apt install g++"
    )


def build_library(target, extra=(), command=None):
    """Compile all variants and the driver into the shared object ``target``; ``extra`` flags go to every step."""
    command = command or compiler()
    machine = subprocess.run([*command, "-dumpmachine"], capture_output=True, text=True, check=True).stdout.split("-")[0]
    variants = VARIANTS["x86_64" if machine in ("x86_64", "amd64") else "other"]
    sources = HERE / SOURCES
    target = Path(target).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        steps = [(Path(folder, f"{name}.o"), sources / f"{name}.cpp", []) for name in ("host", "crc64")]
        steps += [(Path(folder, f"{name}.o"), sources / "variant.cpp", [f"-DVARIANT={name}", *flags]) for name, flags in variants.items()]
        with ThreadPoolExecutor() as pool:
            list(
                pool.map(
                    lambda step: subprocess.run([*command, *FLAGS, *step[2], *extra, "-c", str(step[1]), "-o", str(step[0])], check=True),
                    steps,
                )
            )
        linked = Path(folder, LIBRARY)
        objects = [str(step[0]) for step in steps]
        subprocess.run([*command, "-shared", "-pthread", *extra, "-o", str(linked), *objects], check=True)
        shutil.copyfile(linked, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)


class BuildLibrary(build_ext):
    """Runs the compiler ourselves: distutils names its output after one Python version and has one set of flags."""

    def run(self):
        build_library((HERE if self.inplace else Path(self.build_lib)) / SOURCES / LIBRARY)

    def get_outputs(self):
        return [] if self.inplace else [str(Path(self.build_lib) / SOURCES / LIBRARY)]

    def get_output_mapping(self):
        return {str(Path(self.build_lib) / SOURCES / LIBRARY): str(SOURCES / LIBRARY)} if self.inplace else {}


def platform_wheel(base):
    """The command that names a wheel py3-none-<platform>: the library knows nothing of Python."""

    class PlatformWheel(base):
        def finalize_options(self):
            super().finalize_options()
            self.root_is_pure = False

        def get_tag(self):
            return "py3", "none", super().get_tag()[2]

    return PlatformWheel


class WithLibrary(Distribution):
    """Not pure, though it has no extension module."""

    def has_ext_modules(self):
        return True


if __name__ == "__main__":
    setup(
        distclass=WithLibrary,
        ext_modules=[Extension("edge.compounding.libsonosweep_kernels", [])],
        cmdclass={"build_ext": BuildLibrary, **({"bdist_wheel": platform_wheel(bdist_wheel)} if bdist_wheel else {})},
    )
