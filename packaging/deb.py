"""``python packaging/deb.py [FLAVOUR ...]``: one reproducible .deb for each flavour, with a bill of materials beside it.

The application and its libraries lie in one folder and are run by the system's Python, so that JetPack's TensorRT stays visible.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from string import Template

from elf import complaints, wants
from flavours import FLAVOURS, NEWEST_GLIBC, Flavour
from lock import pip_download
from sbom import BUNDLES, bill

from edge.console import say

HERE = Path(__file__).parent
ROOT = HERE.parent
SITE, RECOVER = Path("usr/lib/sonosweep/site"), Path("usr/lib/sonosweep/recover-update")
KERNELS = Path("edge/compounding/libsonosweep_kernels.so")
# The kernel library asks nothing but glibc of the device. Without --gc-sections a part of libstdc++ that nobody calls asks for GLIBC_2.36.
STATIC = "-static-libstdc++ -static-libgcc -Wl,--gc-sections -Wl,--exclude-libs,ALL"
COMPILERS = {"amd64": "g++", "arm64": "g++-aarch64-linux-gnu"}  # packages of Debian and Ubuntu
UNUSED = (
    "numpy/**/tests",
    "nibabel/**/tests",
    "onnxruntime/transformers",
    "onnxruntime/tools",
    "sympy/**/tests",
    "mpmath/tests",
    "**/__pycache__",
    "bin",
)


class NotBuilt(SystemExit):
    """The package would not run where it is meant to; the message says why."""


def build(name: str, out: Path, version: str, extra: Path | None = None) -> Path:
    """The package of one flavour in ``out``; ``extra``: a folder of further wheels, as pycuda built on a Jetson."""
    flavour = FLAVOURS[name]
    if not shutil.which(flavour.compiler):
        raise NotBuilt(f"{name}: {flavour.compiler} is not installed: sudo apt install {COMPILERS[flavour.arch]}")
    full = f"{version}+{flavour.tag}"
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or _committed())
    with tempfile.TemporaryDirectory() as made:
        tree = Path(made, "tree")
        site = tree / SITE
        site.mkdir(parents=True)
        _install_libraries(flavour, HERE / "locks" / f"{name}.txt", Path(made, "wheels"), site, extra)
        _install_application(flavour, Path(made, "app"), site)
        for pattern in UNUSED:
            for path in site.glob(pattern):
                shutil.rmtree(path)
        if wrong := complaints(site, flavour.elf, NEWEST_GLIBC):
            raise NotBuilt("\n".join(wrong))
        if foreign := [library for library in wants(site / KERNELS).needed if library.startswith(("libstdc++", "libgcc"))]:
            raise NotBuilt(f"{KERNELS} needs {foreign} of the device")
        _install_system(tree)
        materials = _materials(site, name, full, epoch)
        (tree / "usr/share/doc/sonosweep/sbom.cdx.json").write_text(materials)
        _control(tree, flavour, full)
        package = out / f"sonosweep_{full}_{flavour.arch}.deb"
        _pack(tree, package, epoch)
    package.with_suffix(".cdx.json").write_text(materials)
    return package


def _install_libraries(flavour: Flavour, lock: Path, wheels: Path, site: Path, extra: Path | None) -> None:
    wheels.mkdir()
    pip_download(flavour, lock, wheels)
    for wheel in sorted([*wheels.glob("*.whl"), *(extra.glob("*.whl") if extra else ())]):
        shutil.unpack_archive(wheel, site, "zip")
    for data in site.glob("*.data"):  # of a wheel's other folders only the libraries' own matter here
        for part in ("purelib", "platlib"):
            if (data / part).is_dir():
                shutil.copytree(data / part, site, dirs_exist_ok=True)
        shutil.rmtree(data)


def _install_application(flavour: Flavour, made: Path, site: Path) -> None:
    """From a clean copy of the sources: what lies about in the working tree must not get into the package."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for file in filter(None, files.stdout.decode().split("\0")):
        if file.startswith(("edge/", "export/", "calibration/", "firmware_bridge/", "pyproject", "setup.py", "README", "LICENSE")):
            (made / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, made / file)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--wheel-dir", str(made / "wheel"), str(made)]
    environment = os.environ | {"CXX": f"{flavour.compiler} {STATIC} -ffile-prefix-map={made}=."}
    subprocess.run(command, check=True, env=environment)
    (wheel,) = (made / "wheel").glob("*.whl")
    shutil.unpack_archive(wheel, site, "zip")
    (about,) = site.glob("sonosweep-*.dist-info")
    (about / "RECORD").unlink()
    strip = flavour.compiler.removesuffix("g++") + "strip"
    subprocess.run([strip, "--strip-unneeded", str(site / KERNELS)], check=True)


def _install_system(tree: Path) -> None:
    """Units and their kin under /usr/lib: a file under /lib would replace the link that /lib is."""
    for source, target in (
        ("systemd", "usr/lib/systemd/system"),
        ("systemd/sysusers.d", "usr/lib/sysusers.d"),
        ("systemd/tmpfiles.d", "usr/lib/tmpfiles.d"),
        ("systemd/examples", "usr/share/doc/sonosweep/examples"),
        ("packaging/etc", "etc/sonosweep"),
    ):
        (tree / target).mkdir(parents=True)
        for path in sorted((ROOT / source).iterdir()):
            if path.is_file():
                shutil.copyfile(path, tree / target / path.name)
            elif path.name.endswith(".service.d"):
                shutil.copytree(path, tree / target / path.name)
    (tree / "etc/sonosweep/boot-good.d").mkdir()
    (tree / "usr/bin").mkdir()
    shutil.copyfile(HERE / "deb/launcher", tree / "usr/bin/sonosweep")
    shutil.copyfile(HERE / "deb/recover-update", tree / RECOVER)
    shutil.copyfile(HERE / "deb/copyright", tree / "usr/share/doc/sonosweep/copyright")


def _materials(site: Path, name: str, version: str, epoch: int) -> str:
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((site / BUNDLES).glob("*.zip"))}
    when = datetime.fromtimestamp(epoch, timezone.utc).isoformat().replace("+00:00", "Z")
    return bill(site, HERE / "locks" / f"{name}.txt", version, when, digests)


def _control(tree: Path, flavour: Flavour, version: str) -> None:
    folder = tree / "DEBIAN"
    folder.mkdir()
    major, minor = flavour.python.split(".")
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    words = {"version": version, "arch": flavour.arch, "python": flavour.python, "after": f"{major}.{int(minor) + 1}", "size": str(size)}
    (folder / "control").write_text(Template((HERE / "deb/control").read_text()).substitute(words))
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(HERE / "deb" / script, folder / script)
    kept = sorted(path for path in (tree / "etc").rglob("*") if path.is_file())
    (folder / "conffiles").write_text("".join(f"/{path.relative_to(tree)}\n" for path in kept))


def _pack(tree: Path, package: Path, epoch: int) -> None:
    """The same bytes from the same sources: modes are ours and no file is younger than the commit."""
    programs = {tree / "usr/bin/sonosweep", tree / RECOVER, *(tree / "DEBIAN" / script for script in ("postinst", "prerm", "postrm"))}
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (epoch, epoch))
    package.parent.mkdir(parents=True, exist_ok=True)
    command = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z9", "--threads-max=2", "--build", str(tree), str(package)]
    subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}, stdout=subprocess.DEVNULL)


def _committed() -> str:
    return subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _version() -> str:
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert found
    return found[1]


def main() -> None:
    """Build what was named, or all; say what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("flavours", nargs="*", metavar="FLAVOUR", help=f"{', '.join(FLAVOURS)} (all)")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the packages (%(default)s)")
    parser.add_argument("--version", default=_version(), help="in place of pyproject.toml's")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="further wheels for the package, as pycuda built on a Jetson")
    options = parser.parse_args()
    for name in options.flavours or FLAVOURS:
        package = build(name, options.out, options.version, options.wheels)
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        say(f"{package}: {package.stat().st_size / 1e6:.1f} MB for {FLAVOURS[name].meant_for}, sha256 {digest}")


if __name__ == "__main__":
    main()
