"""The house stands: imports run one way, heavy libraries have one door each, the tables agree with what is wired."""

from __future__ import annotations

import ast
import re
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import zmq

from edge.faults import FAULTS
from edge.messages import TYPES
from edge.peers import Peers
from edge.services import ALL, CLIENTS_HEAR, GUESTS, SERVICES

ROOT = Path(__file__).parents[1]
PACKAGES = ("edge", "firmware_bridge", "export", "calibration")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
MAY_IMPORT = {"edge": set(), "firmware_bridge": {"edge"}, "calibration": {"edge"}, "export": {"edge", "calibration"}}
DOORS = {
    "pycuda": "edge/gpu_context.py",
    "cuda": "edge/gpu_context.py",
    "onnxruntime": ("edge/motion/ort.py", "export/quantization.py"),  # running graphs; its quantizer
    "tensorrt": "edge/motion/trt.py",
    "onnx": "export/",
    "torch": "export/",
    "mcap": "edge/files/",
    "nibabel": "edge/files/",
    "pydicom": ("edge/dicom/", "edge/files/dicom_"),
    "pynetdicom": "edge/dicom/",
    "av": "edge/files/video.py",
    "h5py": "edge/files/hdf5.py",
}
LONGEST_FILE = 300


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it the import stands (a hidden import is an import)."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= modules or {node.module}
    return found


def test_packages_import_only_what_lies_below_them():
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        foreign = {name.split(".")[0] for name in imports(path)} & set(PACKAGES) - {package}
        assert foreign <= MAY_IMPORT[package], f"{path}: {package} must not import {foreign - MAY_IMPORT[package]}"


def test_no_import_circle():
    arrows = {name: (imports(path) & MODULES.keys()) - {name} for name, path in MODULES.items()}
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for target in sorted(arrows[name]):
                walk(target, (*way, name))
            done.add(name)

    for name in sorted(arrows):
        walk(name, ())


@pytest.mark.parametrize("library", DOORS)
def test_a_heavy_library_has_one_door(library):
    for path in FILES:
        if library in {name.split(".")[0] for name in imports(path)}:
            assert str(path.relative_to(ROOT)).startswith(DOORS[library]), f"{path} imports {library}; only {DOORS[library]} may"


def test_only_the_console_prints_and_nobody_reads_switches_from_the_environment():
    allowed = {ROOT / "edge/daemon.py", ROOT / "setup.py"}  # systemd's protocol is made of environment variables
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"os\.environ|os\.getenv", text) or path in allowed, f"{path} reads the environment"
        text = re.sub(r"^ *(>>>|\.\.\.) .*$", "", text, flags=re.M)  # an example may print
        assert not re.search(r"\bprint\(|sys\.stdout\.write", text) or path == ROOT / "edge/console.py", f"{path} prints"


def test_files_fit_in_the_head_and_say_what_they_are_for():
    for path in FILES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), f"{path} does not say what it is for"
        assert len(path.read_text().splitlines()) <= LONGEST_FILE, f"{path} is longer than {LONGEST_FILE} lines"


def test_systemd_is_no_python_package():
    assert not list((ROOT / "systemd").glob("**/*.py")), "a package named systemd would shadow python3-systemd"


def test_every_message_is_said_and_heard():
    for kind in TYPES.values():
        assert any(kind in service.says for service in SERVICES.values()), f"nobody says {kind.topic}"
        heard = any(kind in service.hears for service in SERVICES.values()) or kind in CLIENTS_HEAR
        assert heard, f"nobody hears {kind.topic}"


def test_frames_have_one_speaker():
    assert [name for name, service in SERVICES.items() if TYPES["frame"] in service.says] == ["bridge"]


def test_peers_hear_what_the_table_says():
    context, run_dir = zmq.Context(), Path(tempfile.mkdtemp(prefix="sono-"))
    for me, service in ALL.items():
        peers = Peers(context, run_dir, me)
        assert set(peers.hears) == set(service.hears) - {TYPES["frame"]}
        peers.close()
    context.term()
    run_dir.rmdir()


def test_every_service_is_a_command_has_a_unit_and_a_fault_for_its_absence():
    commands = {point.name for point in entry_points(group="sonosweep.commands")}
    for name, service in SERVICES.items():
        assert service.gone in FAULTS
        assert service.command.split()[1] in commands
        unit = (ROOT / "systemd" / f"sonosweep-{name}.service").read_text()
        assert f"ExecStart=/usr/bin/{service.command}\n" in unit
        target = (ROOT / "systemd" / "sonosweep.target").read_text()
        assert all(f"sonosweep-{name}.service" in line for line in target.splitlines() if line.startswith(("Wants=", "After=")))


def test_a_guest_is_a_command_that_only_shows_and_that_nobody_misses():
    commands = {point.name for point in entry_points(group="sonosweep.commands")}
    for name, guest in GUESTS.items():
        assert guest.command.split()[1] in commands and guest.shows and not guest.gone and name not in SERVICES


def test_every_fault_is_raised_somewhere_and_no_other():
    text = "\n".join(path.read_text() for path in FILES if path.name != "faults.py")
    for name in FAULTS:
        assert f'"{name}"' in text, f"nobody raises {name}"


def test_every_subcommand_loads_and_explains_itself():
    for point in entry_points(group="sonosweep.commands"):
        command = point.load()
        assert command.SUMMARY and "sonosweep " in command.EXAMPLES, point.name
