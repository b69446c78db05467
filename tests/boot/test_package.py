"""The packages themselves: the same bytes twice, and those for arm64 as whole as can be told without running them."""

import os
import shutil
import subprocess
from email import message_from_string

import pytest
from boot.conftest import built
from flavours import FLAVOURS
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SITE = "usr/lib/sonosweep/site"
ARM64 = [name for name, flavour in FLAVOURS.items() if flavour.arch == "arm64"]


def test_the_package_is_the_same_bytes_again(package, architecture, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    before = os.umask(0o077)
    try:
        again = built(f"{architecture}-cp311", tmp_path / "again")
    finally:
        os.umask(before)
    assert again.read_bytes() == package.read_bytes()


@pytest.mark.parametrize("name", ARM64)
def test_a_package_for_arm64_holds_what_its_libraries_ask_for(name, tmp_path):
    flavour = FLAVOURS[name]
    if not shutil.which(flavour.compiler):
        pytest.skip(f"{flavour.compiler} is not installed: sudo apt install g++-aarch64-linux-gnu")
    package = built(name, tmp_path)
    subprocess.run(["dpkg-deb", "--extract", str(package), str(tmp_path / "tree")], check=True)
    control = message_from_string(
        subprocess.run(["dpkg-deb", "--info", str(package), "control"], capture_output=True, text=True, check=True).stdout
    )
    assert control["Architecture"] == "arm64"
    assert f"python3 (>= {flavour.python}~)" in control["Depends"]
    site = tmp_path / "tree" / SITE
    told = [message_from_string(path.read_text()) for path in site.glob("*.dist-info/METADATA")]
    here = {canonicalize_name(about["Name"]): about["Version"] for about in told}
    machine = {"python_version": flavour.python, "python_full_version": f"{flavour.python}.0", "platform_machine": "aarch64", "extra": ""}
    for about in told:
        for wanted in map(Requirement, about.get_all("Requires-Dist", [])):
            if wanted.marker is None or wanted.marker.evaluate(machine):
                assert canonicalize_name(wanted.name) in here, f"{about['Name']} wants {wanted}"
                assert wanted.specifier.contains(here[canonicalize_name(wanted.name)]), f"{about['Name']} wants {wanted}"
    foreign = [
        path.name for path in site.rglob("*.so") if "cpython-" in path.name and f"cpython-{flavour.tag[2:]}-aarch64" not in path.name
    ]
    assert foreign == []
    assert (site / "edge/compounding/libsonosweep_kernels.so").exists() and list((site / "edge/bundles").glob("*.zip"))
    assert not list((tmp_path / "tree").glob("lib*")), "a folder /lib in the package would replace the link that /lib is"
