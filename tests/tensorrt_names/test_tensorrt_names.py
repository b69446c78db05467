"""Every TensorRT name that we use exists in the bindings of the devices: JetPack 6.2 (10.3), 7.0 (10.13), 7.2 (10.16) and 11."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from export.engine.build import WEAK

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEPT = ROOT / ".venv" / "tensorrt-names"  # 1 MB each; their licence does not let us keep them with the sources
VERSIONS = {
    "10.3": "tensorrt_cu12_bindings==10.3.0",
    "10.13": "tensorrt_cu12_bindings==10.13.3.9",
    "10.16": "tensorrt_cu13_bindings==10.16.1.11",
    "11.4": "tensorrt_cu13_bindings==11.4.0.106",
}
SOURCES = [ROOT / "edge" / "motion" / "trt.py", *sorted((ROOT / "export" / "engine").glob("*.py"))]
NOT_THEIRS = {"seek", "write"}  # attributes of files in our sources; some versions have classes with such members too


def bindings(version: str) -> dict[str, list[str]]:
    """Names in the bindings of ``version``; skips where they cannot be had."""
    folder = KEPT / version
    listed = folder / "names.json"
    if listed.exists():
        return json.loads(listed.read_text())
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: the bindings want libraries, and we make empty ones")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, VERSIONS[version]], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"TensorRT's bindings {version} for this Python cannot be fetched: {(done.stderr.splitlines() or ['?'])[-1]}")
    (folder / "stub").mkdir(exist_ok=True)
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{version.split('.')[0]}"
        out = folder / "stub" / name
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", out, f"-Wl,-soname,{name}", HERE / "stub.c"], check=True)
    said = subprocess.run([sys.executable, HERE / "names.py", folder], capture_output=True, text=True, check=True)
    listed.write_text(said.stdout)
    return json.loads(said.stdout)


def used() -> tuple[set[str], set[str]]:
    """Names of the module (``Builder``, ``BuilderFlag.INT8``) and attributes of anything, in the files that talk to TensorRT."""
    of_module, attributes = set(), set()
    for node in (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))):
        if not isinstance(node, ast.Attribute):
            continue
        attributes.add(node.attr)
        chain = ast.unparse(node).removeprefix("self.").split(".")
        if chain[0] == "trt" and len(chain) > 1:
            of_module.add(".".join(chain[1:3]))
    return of_module, attributes


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_of_the_module_is_there(version):
    there = set(bindings(version)["names"])
    of_module, _ = used()
    assert {"Builder", "OnnxParser", "Runtime"} <= of_module
    ours = {name for name in of_module if not name.startswith("__")}
    assert ours - there == set()
    weak = {f"BuilderFlag.{flag}" for flags in WEAK.values() for flag in flags}
    assert len(weak) == 2 and (weak & there == (weak if version.startswith("10.") else set())), "strong typing only, from 11 on"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_attribute_that_some_version_has_is_in_this_one(version):
    members = {each: {name.split(".")[1] for name in bindings(each)["names"] if "." in name} for each in VERSIONS}
    _, attributes = used()
    wanted = (attributes & set().union(*members.values())) - NOT_THEIRS
    assert {"create_network", "build_serialized_network", "execute_async_v3"} <= wanted
    assert wanted - members[version] == set()
