"""The C header says what the numpy dtype says, and the C example talks to the bridge."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zmq
from bridge_bench import BridgeBench

from edge.messages import Frame
from firmware_bridge import extensions, wire
from firmware_bridge.keys import make_keys

PACKAGE = Path(wire.__file__).parent
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{PACKAGE / 'include'}"]
needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")


def compiled(folder: Path, source: Path, *libraries: str) -> Path:
    program = folder / source.stem
    built = subprocess.run(
        ["gcc", *STRICT, "-O1", str(source), "-o", str(program), *libraries], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture(scope="module")
def send_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    probe = subprocess.run(["gcc", "-E", "-"], input="#include <zmq.h>\n", capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip("libzmq3-dev is not installed")
    return compiled(tmp_path_factory.mktemp("c"), PACKAGE / "examples" / "send_frames.c", "-lzmq", "-lm")


@needs_gcc
def test_every_field_lies_where_the_dtype_says(tmp_path: Path) -> None:
    structs = {"sonosweep_header": wire.HEADER, "sonosweep_imu_sample": extensions.IMU_SAMPLE}
    prints = [
        f'printf("{struct}.{field} %zu %zu\\n", offsetof(struct {struct}, {field}), sizeof(((struct {struct} *)0)->{field}));'
        for struct, dtype in structs.items()
        for field in dtype.names or ()
    ]
    prints += [f'printf("{struct} 0 %zu\\n", sizeof(struct {struct}));' for struct in (*structs, "sonosweep_extension")]
    body = "\n".join(prints)
    source = tmp_path / "layout.c"
    source.write_text(f'#include <stdio.h>\n#include "sonosweep_wire.h"\nint main(void) {{\n{body}\nreturn 0;\n}}\n')
    said = subprocess.run([compiled(tmp_path, source)], capture_output=True, text=True, check=True).stdout.splitlines()
    expected = [
        f"{struct}.{field} {dtype.fields[field][1]} {dtype.fields[field][0].itemsize}"
        for struct, dtype in structs.items()
        if dtype.fields
        for field in dtype.names or ()
    ]
    expected += [f"{struct} 0 {dtype.itemsize}" for struct, dtype in structs.items()]
    assert said == [*expected, f"sonosweep_extension 0 {extensions.BLOCK.size}"]


@needs_gcc
def test_constants_and_checksum_are_the_same_in_c(tmp_path: Path) -> None:
    names = {
        "SONOSWEEP_MAGIC": wire.MAGIC,
        "SONOSWEEP_VERSION": wire.VERSION,
        "SONOSWEEP_LAST_OF_SWEEP": wire.LAST_OF_SWEEP,
        "SONOSWEEP_BMODE": wire.CODES["modality"]["bmode"],
        "SONOSWEEP_PHOTOACOUSTIC": wire.CODES["modality"]["photoacoustic"],
        "SONOSWEEP_EXT_IMU": extensions.IMU,
        "SONOSWEEP_EXT_MECHANICAL_INDEX": extensions.MECHANICAL_INDEX,
        "SONOSWEEP_EXT_THERMAL_INDEX": extensions.THERMAL_INDEX,
        "SONOSWEEP_EXT_FOCUS": extensions.FOCUS,
        "SONOSWEEP_EXT_LASER_ENERGY": extensions.LASER_ENERGY,
        "SONOSWEEP_EXT_POSE_ORIGIN": extensions.POSE_ORIGIN,
        "SONOSWEEP_IMU_MAGNETIC": extensions.MAGNETIC_FIELD_MEASURED,
    }
    for field, prefix in (("sample_type", ""), ("orientation", ""), ("geometry", ""), ("pose_status", "POSE_")):
        names |= {f"SONOSWEEP_{prefix}{word.upper()}": code for word, code in wire.CODES[field].items()}
    checks = "\n".join(f'if ((unsigned long)({name}) != {value}ul) puts("{name}");' for name, value in names.items())
    crc = 'if (sonosweep_crc32(sonosweep_crc32(0, "1234", 4), "56789", 5) != 0xcbf43926u) puts("crc");'
    source = tmp_path / "constants.c"
    source.write_text(f'#include <stdio.h>\n#include "sonosweep_wire.h"\nint main(void) {{\n{checks}\n{crc}\nreturn 0;\n}}\n')
    assert subprocess.run([compiled(tmp_path, source)], capture_output=True, text=True, check=True).stdout == ""


def check_pattern(frames: list[Frame], count: int) -> None:
    assert [frame.sequence for frame in frames] == list(range(count))
    assert [frame.last for frame in frames] == [False] * (count - 1) + [True]
    grey, absorbed = frames[0], frames[1]
    assert (grey.modality, grey.pixels.dtype, grey.wavelength_nm) == ("bmode", np.uint8, 0.0)
    assert (absorbed.modality, absorbed.pixels.dtype, absorbed.wavelength_nm) == ("photoacoustic", np.uint16, 800.0)
    assert grey.pixels[48, 20] == 200 and absorbed.pixels[48, 21] == 60000
    assert grey.extras.mechanical_index == 0.7 and absorbed.extras.laser_energy_mj == 12.5
    assert len(grey.extras.imu) == 2 and grey.extras.imu[1].timestamp_ns == grey.timestamp_ns
    assert frames[-1].pose is not None and frames[-1].pose.matrix[2, 3] == pytest.approx(0.25 * (count - 1))


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_the_c_sender_talks_to_the_bridge(send_frames: Path, bench: BridgeBench, transport: str) -> None:
    endpoint = bench.open_bridge(transport=transport)
    run, record = bench.consume("run"), bench.consume("record")
    sender = subprocess.Popen([send_frames, endpoint, "12", "500"])
    bench.step_until(lambda: len(run.frames) == len(record.frames) == 12)
    assert sender.wait(10) == 0
    check_pattern(run.frames, 12)
    assert bench.counts["malformed"] == bench.counts["lost"] == 0


def test_the_c_sender_talks_to_the_bridge_in_cipher(send_frames: Path, bench: BridgeBench) -> None:
    if not zmq.has("curve"):
        pytest.skip("this libzmq was built without CURVE")
    make_keys("bridge", bench.folder)
    _, secret = make_keys("probe", bench.folder / "allowed")
    endpoint = bench.open_bridge(
        server_key=str(bench.folder / "bridge.key_secret"), allowed_keys=str(bench.folder / "allowed"), transport="tcp"
    )
    record = bench.consume("record")
    sender = subprocess.Popen([send_frames, endpoint, "6", "500", secret, bench.folder / "bridge.key"])
    bench.step_until(lambda: len(record.frames) == 6)
    assert sender.wait(10) == 0
    check_pattern(record.frames, 6)
