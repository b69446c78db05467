"""The packages that are built, in one table: what each is for and what makes it."""

from __future__ import annotations

from typing import NamedTuple

NEWEST_GLIBC = (2, 35)  # Ubuntu 22.04, which is JetPack 6; every flavour keeps to it


class Flavour(NamedTuple):
    """``elf``: the machine's number in ELF headers. ``platforms``: of wheels, best first, as pip and uv name them."""

    arch: str
    python: str
    elf: int
    compiler: str
    platforms: tuple[str, ...]
    uv_platform: str
    meant_for: str

    @property
    def tag(self) -> str:
        """cp310."""
        return "cp" + self.python.replace(".", "")


_ARM = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64")
_X86 = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
FLAVOURS = {
    "amd64-cp311": Flavour("amd64", "3.11", 62, "g++", _X86, "x86_64-manylinux_2_28", "Debian 12"),
    "arm64-cp310": Flavour("arm64", "3.10", 183, "aarch64-linux-gnu-g++", _ARM, "aarch64-manylinux_2_28", "JetPack 6 (Ubuntu 22.04)"),
    "arm64-cp311": Flavour("arm64", "3.11", 183, "aarch64-linux-gnu-g++", _ARM, "aarch64-manylinux_2_28", "Debian 12"),
    "arm64-cp312": Flavour("arm64", "3.12", 183, "aarch64-linux-gnu-g++", _ARM, "aarch64-manylinux_2_28", "JetPack 7 (Ubuntu 24.04)"),
}
