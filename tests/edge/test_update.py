"""Updates with the real dpkg, in a root of its own: what is refused, what is taken back, and what a power cut leaves."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

import edge.update.updating as updating
from edge.app import main
from edge.update.journal import Journal, NoRoom
from edge.update.package import Dpkg, PackageUnreadable, TooOld, WrongPackage, compare
from edge.update.signature import SUFFIX, KeyUnreadable, SignatureRefused, make_key, sign
from edge.update.updating import SweepRuns, TakenBack, Updating

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("dpkg") is None, reason="packages are installed by root, on systems of Debian's kind"
)
RECOVER = Path(__file__).parents[2] / "packaging/deb/recover-update"
FILES, CUTS = 40, 24


class Device:
    """A root with a dpkg database, keys to trust, and packages to install."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.keys = folder, folder / "root", folder / "keys"
        for part in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc"):
            (self.root / part).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        self.keys.mkdir()
        make_key(folder / "maker", self.keys / "maker.pem")
        self.journal, self.dpkg = Journal(folder / "update"), Dpkg(self.root)
        self.sweeps = False
        self.asked: list[str] = []
        self.unwell: set[str] = set()
        self.updating = Updating(self.dpkg, self.journal, lambda: self.sweeps, self._well)

    def _well(self) -> bool:
        self.asked.append(self.version())
        return self.asked[-1] not in self.unwell

    def package(self, version: str, *, signed: bool = True, **fields: str) -> Path:
        tree = self.folder / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        for n in range(FILES):
            path = tree / f"usr/lib/sonosweep/site/part{n}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"VERSION = {version!r}\n" * 200)
        (tree / "etc/sonosweep").mkdir(parents=True)
        (tree / "etc/sonosweep/edge.toml").write_text(f"# of {version}\n")
        control = {"Package": "sonosweep", "Version": version, "Architecture": "all", "Maintainer": "m <m@x.invalid>", "Description": "x"}
        (tree / "usr/share/doc/sonosweep").mkdir(parents=True)
        (tree / "usr/share/doc/sonosweep/copyright").write_text("x\n")
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text("".join(f"{k}: {v}\n" for k, v in (control | fields).items()))
        (tree / "DEBIAN/conffiles").write_text("/etc/sonosweep/edge.toml\n")
        path = self.folder / f"sonosweep_{version}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)], check=True, stdout=subprocess.DEVNULL)
        if signed:
            sign(path, self.folder / "maker")
        return path

    def update(self, version: str, *, downgrade: bool = False, **fields: str):
        return self.updating.update(self.package(version, **fields), self.keys, downgrade=downgrade)

    def version(self) -> str:
        """That of the files, which must all be of one version; of dpkg's records as well."""
        found = {path.read_text() for path in (self.root / "usr/lib/sonosweep/site").glob("part*.py")}
        (text,) = found
        installed = self.dpkg.installed()
        assert text == f"VERSION = {installed!r}\n" * 200
        assert len(list((self.root / "usr/lib/sonosweep/site").iterdir())) == FILES
        return installed


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


def test_a_signed_package_is_installed_and_the_configuration_stays(device):
    assert device.update("1.0").after == "1.0"
    (device.root / "etc/sonosweep/edge.toml").write_text("# the OEM's\n")
    told = device.update("1.1")
    assert (told.before, told.after, told.key) == ("1.0", "1.1", "maker")
    assert device.version() == "1.1" and not device.journal.pending.exists()
    assert (device.root / "etc/sonosweep/edge.toml").read_text() == "# the OEM's\n"


def test_a_packaged_file_that_was_removed_is_named_and_does_not_hinder_an_update(device, capsys):
    device.update("1.0")
    (device.root / "etc/sonosweep/edge.toml").unlink()
    shutil.rmtree(device.root / "usr/share/doc/sonosweep")
    device.unwell.add("1.1")
    with pytest.raises(TakenBack, match=r"1\.0 is installed again"):
        device.update("1.1")
    said = capsys.readouterr().err
    assert "/etc/sonosweep/edge.toml is missing" in said and "/usr/share/doc/sonosweep/copyright is missing" in said
    assert device.version() == "1.0" and device.update("1.2").after == "1.2"


def test_what_is_not_signed_by_a_trusted_key_is_refused_by_name(device, tmp_path):
    device.update("1.0")
    with pytest.raises(SignatureRefused, match=r"comes with its \.sig file"):
        device.updating.update(device.package("1.1", signed=False), device.keys)
    package = device.package("1.2")
    package.write_bytes(package.read_bytes()[:-1] + b"x")
    with pytest.raises(SignatureRefused, match="changed since"):
        device.updating.update(package, device.keys)
    make_key(tmp_path / "other", tmp_path / "other.pem")
    package = device.package("1.3")
    sign(package, tmp_path / "other")
    with pytest.raises(SignatureRefused, match="signed by none of maker"):
        device.updating.update(package, device.keys)
    with pytest.raises(KeyUnreadable, match="holds no key"):
        device.updating.update(device.package("1.4"), tmp_path / "nowhere")
    assert device.version() == "1.0" and not device.journal.pending.exists()


def test_what_does_not_fit_is_refused_by_name(device, tmp_path):
    device.update("1.0")
    for fields, said in (
        ({"Package": "vim"}, "package of vim"),
        ({"Architecture": "riscv64"}, "is for riscv64 and this device is"),
        ({"Depends": "python3 (<< 3)"}, r"needs python3 \(<< 3\)"),
    ):
        with pytest.raises(WrongPackage, match=said):
            device.update("1.1", **fields)
    rubbish = tmp_path / "sonosweep_9.deb"
    rubbish.write_bytes(b"no package")
    sign(rubbish, tmp_path / "maker")
    with pytest.raises(PackageUnreadable, match="copy it again"):
        device.updating.update(rubbish, device.keys)
    assert device.version() == "1.0"


def test_an_older_one_is_only_taken_when_it_is_meant_and_never_below_the_floor(device):
    device.update("1.0")
    device.update("2.0", **{"Sonosweep-Oldest": "1.5"})
    with pytest.raises(TooOld, match="say --downgrade"):
        device.update("1.9")
    with pytest.raises(TooOld, match=r"nothing before 1\.5"):
        device.update("1.0", downgrade=True)
    assert device.update("1.9", downgrade=True).after == "1.9" and device.version() == "1.9"
    with pytest.raises(TooOld, match=r"nothing before 1\.5"):
        device.update("1.4", downgrade=True)


def test_a_version_that_is_not_well_is_taken_back(device):
    device.update("1.0")
    device.unwell = {"1.1"}
    with pytest.raises(TakenBack, match=r"not all well; 1\.0 is installed again"):
        device.update("1.1", **{"Sonosweep-Oldest": "1.1"})
    assert device.asked == ["1.0", "1.1"] and device.version() == "1.0"
    assert not device.journal.pending.exists() and not device.journal.floor


def test_one_that_dpkg_cannot_install_is_taken_back(device):
    device.update("1.0")
    package = device.package("1.1", Conflicts="sonosweep-other", **{"Pre-Depends": "not-there"})
    with pytest.raises(TakenBack, match=r"(?s)dpkg failed: .*; 1\.0 is installed again"):
        device.updating.update(package, device.keys)
    assert device.version() == "1.0"


def test_nothing_is_installed_during_a_sweep_or_without_room(device, monkeypatch):
    device.update("1.0")
    device.sweeps = True
    with pytest.raises(SweepRuns):
        device.update("1.1")
    device.sweeps = False
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(NoRoom, match="0 MiB are free"):
        device.update("1.1")
    assert device.version() == "1.0"


def test_a_sweep_that_begins_while_the_way_back_is_packed_is_not_cut(device, monkeypatch):
    device.update("1.0")
    repack = updating.repack

    def slowly(dpkg, path):
        repack(dpkg, path)
        device.sweeps = True

    monkeypatch.setattr(updating, "repack", slowly)
    with pytest.raises(SweepRuns):
        device.update("1.1")
    assert device.version() == "1.0" and not device.journal.pending.exists()
    device.sweeps = False
    monkeypatch.undo()
    assert device.update("1.1").before == "1.0" and device.version() == "1.1"


def test_check_alone_touches_nothing(device):
    device.update("1.0")
    new, key = device.updating.check(device.package("1.1"), device.keys)
    assert (new.version, key, device.version()) == ("1.1", "maker", "1.0") and not device.journal.pending.exists()


def test_dpkgs_order_of_versions():
    assert compare("0.9+cp310", "lt", "0.10+cp310") and not compare("1.0", "lt", "1.0~rc1")


def test_only_root_updates(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["update", str(tmp_path / "x.deb")]) == 1
    assert "sudo sonosweep update" in capsys.readouterr().err


def recover(device: Device) -> None:
    """As the unit does before any service starts; dpkg is told the root."""
    tools = device.folder / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "dpkg").write_text(f'#!/bin/sh\nexec /usr/bin/dpkg --root={device.root} "$@"\n')
    (tools / "dpkg").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    command = ["sh", str(RECOVER), str(device.journal.folder)]
    subprocess.run(command, check=True, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL)


def test_cut_off_at_any_point_one_whole_version_is_left(device):
    """The update is killed together with dpkg; what is on the disk then is what recovery has to do with."""
    device.update("1.0")
    begun = time.monotonic()
    device.update("1.0")
    took_s, rng = time.monotonic() - begun, random.Random(1)
    package, cuts = device.package("1.1"), {"before": 0, "within": 0, "after": 0}
    for cut in range(CUTS):
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            try:
                device.updating.update(package, device.keys)
            finally:
                os._exit(0)
        with suppress(PermissionError, ProcessLookupError):  # the child has done it, or has ended
            os.setpgid(child, child)
        while cut % 2 and not device.journal.pending.exists() and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, took_s if cut % 2 == 0 else took_s / 4))
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for lock in ("lock", "lock-frontend"):
            assert subprocess.run(["flock", "-w", "5", str(device.root / "var/lib/dpkg" / lock), "true"], check=False).returncode in (0, 66)
        pending = device.journal.pending.exists()
        cuts["within" if pending else "before" if device.dpkg.installed() == "1.0" else "after"] += 1
        recover(device)
        assert device.version() == ("1.0" if pending else device.dpkg.installed()) and not device.journal.pending.exists()
        if device.version() == "1.1":
            device.updating.update(device.package("1.0"), device.keys, downgrade=True)
            package = device.package("1.1")
    assert cuts["within"] >= CUTS // 5, cuts


def test_recovery_that_is_cut_off_is_begun_again(device):
    device.update("1.0")
    device.update("1.1")
    device.journal.begin("1.1")
    (device.root / "usr/lib/sonosweep/site/part3.py").write_text("torn")
    recover(device)
    device.journal.begin("1.1")
    recover(device)
    assert device.version() == "1.0" and SUFFIX == ".sig"
