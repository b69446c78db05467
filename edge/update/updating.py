"""Installing a package on a device that nobody can reach: verify it, keep the way back, install, look whether it works, or go back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edge.console import say
from edge.errors import SonosweepError
from edge.update.journal import Journal
from edge.update.package import KEEP, Dpkg, DpkgFailed, Package, check_fits, compare, read_package
from edge.update.repack import repack
from edge.update.signature import SUFFIX, verify

LOGS = "see `journalctl -u 'sonosweep*'`"


class SweepRuns(SonosweepError):
    """The device is being used."""


class TakenBack(SonosweepError):
    """The new version did not do its work; the one before is installed again."""


class Updated(NamedTuple):
    """From which version to which; ``key``: the name of the key that the package was signed with."""

    before: str
    after: str
    key: str


class Updating:
    """``busy``: whether a sweep runs. ``well``: whether the installed version does its work, asked after it was installed."""

    def __init__(self, dpkg: Dpkg, journal: Journal, busy: Callable[[], bool], well: Callable[[], bool]) -> None:
        self._dpkg, self._journal, self._busy, self._well = dpkg, journal, busy, well

    def check(self, package: Path, trusted: Path, *, downgrade: bool = False) -> tuple[Package, str]:
        """A copy of the package that may be installed, and the name of its key. Touches nothing that runs.

        ``SignatureRefused``, ``PackageUnreadable``, ``WrongPackage``, ``TooOld``, ``NoRoom``.
        """
        staged = self._journal.stage(package, SUFFIX)
        key = verify(staged, trusted).stem
        new = read_package(staged)
        check_fits(new, self._dpkg, self._journal.floor, downgrade=downgrade)
        return new, key

    def update(self, package: Path, trusted: Path, *, downgrade: bool = False) -> Updated:
        """As ``check``; then ``SweepRuns``, or ``TakenBack`` where the new version was not well."""
        new, key = self.check(package, trusted, downgrade=downgrade)
        self._unused()
        before = self._dpkg.installed()
        if before:
            with self._journal.new_previous() as path:
                repack(self._dpkg, path)
            self._unused()  # packing took a while
        self._journal.begin(new.version)
        say(f"update: installing {new.version} over {before or 'nothing'}")
        if wrong := self._wrong_with(new):
            self._go_back(wrong, before)
        self._journal.end()
        if new.oldest and (not self._journal.floor or compare(self._journal.floor, "lt", new.oldest)):
            self._journal.raise_floor(new.oldest)
        return Updated(before, new.version, key)

    def _unused(self) -> None:
        if self._busy():
            raise SweepRuns("a sweep runs; end it, then update")

    def _wrong_with(self, new: Package) -> str:
        try:
            self._dpkg.run("--install", KEEP, str(new.path))
        except DpkgFailed as wrong:
            return str(wrong)
        return "" if self._well() else f"{new.version} was installed and its services are not all well"

    def _go_back(self, why: str, before: str) -> None:
        if not before:
            self._journal.end()
            raise TakenBack(f"{why}; there was none before, so nothing is gone back to: {LOGS}")
        say(f"update: {why}; going back to {before}")
        self._dpkg.run("--install", KEEP, str(self._journal.previous))
        self._journal.end()
        raise TakenBack(f"{why}; {before} is installed again: {LOGS}, and tell who made the package")
