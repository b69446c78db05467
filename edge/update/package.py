"""A package of ours as dpkg describes it, what is installed, and what may replace it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from edge.errors import SonosweepError

NAME = "sonosweep"
FIELDS = ("Package", "Version", "Architecture", "Depends", "Sonosweep-Oldest")
KEEP = "--force-confold"  # the OEM's configuration stays; `sonosweep config check` names what does not fit
OPERATORS = {"<<": "lt", "<=": "le", "=": "eq", ">=": "ge", ">>": "gt"}


class PackageUnreadable(SonosweepError):
    """dpkg does not take the file as a package."""


class WrongPackage(SonosweepError):
    """A package of something else, of another machine, or for another Python."""


class TooOld(SonosweepError):
    """A package that is older than the device may be set back to."""


class DpkgFailed(SonosweepError):
    """dpkg did not do what it was asked for; its words follow."""


class Package(NamedTuple):
    """``oldest``: what a device that once had this package may never be set back below, "" where it sets no bound."""

    path: Path
    name: str
    version: str
    architecture: str
    depends: str
    oldest: str


class Dpkg:
    """The packages of the system under ``root``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self._where = [] if root == Path("/") else [f"--root={root}"]

    def run(self, *words: str) -> str:
        """Output of ``dpkg``. ``DpkgFailed``."""
        return _output("dpkg", *self._where, *words)

    def query(self, *words: str) -> str:
        """Output of ``dpkg-query``. ``DpkgFailed``."""
        return _output("dpkg-query", *self._where, *words)

    def installed(self, name: str = NAME) -> str:
        """The version; "" where it is not installed, or not wholly."""
        try:
            status, version = self.query("--show", "--showformat=${db:Status-Abbrev}\n${Version}", name).split("\n")
        except (DpkgFailed, ValueError):
            return ""
        return version if status.startswith("ii") else ""

    def unmet(self, depends: str) -> str:
        """The first of a Depends line that is not satisfied; "" where all are."""
        for one in filter(None, (part.strip() for part in depends.split(","))):
            if not any(self._satisfied(alternative.strip()) for alternative in one.split("|")):
                return one
        return ""

    def _satisfied(self, alternative: str) -> bool:
        name, _, condition = alternative.partition("(")
        version = self.installed(name.strip().partition(":")[0])
        if not version or not condition:
            return bool(version)
        operator, wanted = condition.rstrip(") ").split()
        return compare(version, OPERATORS[operator], wanted)


def read_package(path: Path) -> Package:
    """Reads its control file. ``PackageUnreadable``."""
    try:
        said = _output("dpkg-deb", "--show", "--showformat=" + "\n".join(f"${{{field}}}" for field in FIELDS), str(path))
    except DpkgFailed as wrong:
        raise PackageUnreadable(f"{path}: is no package that dpkg can read ({wrong}); copy it again") from wrong
    return Package(path, *said.split("\n"))


def build_package(tree: Path, out: Path) -> None:
    """A .deb of a tree with its DEBIAN folder. ``DpkgFailed``."""
    _output("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(out))


def compare(one: str, operator: str, other: str) -> bool:
    """By Debian's order of versions; ``operator``: lt, le, eq, ge, gt."""
    return subprocess.run(["dpkg", "--compare-versions", one, operator, other], check=False).returncode == 0


def check_fits(package: Package, dpkg: Dpkg, floor: str, *, downgrade: bool) -> None:
    """Raises ``WrongPackage`` or ``TooOld``. ``floor``: the oldest version that the packages so far allow."""
    machine, installed = dpkg.run("--print-architecture").strip(), dpkg.installed()
    if package.name != NAME:
        raise WrongPackage(f"{package.path}: is a package of {package.name}; `sonosweep update` installs sonosweep alone")
    if package.architecture not in (machine, "all"):
        raise WrongPackage(f"{package.path}: is for {package.architecture} and this device is {machine}; take the package for {machine}")
    if missing := dpkg.unmet(package.depends):
        raise WrongPackage(f"{package.path}: needs {missing}, which this system has not; take the package for this system's Python")
    if floor and compare(package.version, "lt", floor):
        raise TooOld(f"{package.path}: is {package.version}; nothing before {floor} is allowed on this device any more")
    if installed and compare(package.version, "lt", installed) and not downgrade:
        raise TooOld(f"{package.path}: is {package.version} and {installed} is installed; say --downgrade if that is meant")


def _output(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as wrong:
        raise DpkgFailed(f"{words[0]} is not installed: updates are for systems of Debian's kind") from wrong
    if done.returncode:
        raise DpkgFailed(f"{words[0]} failed: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout
