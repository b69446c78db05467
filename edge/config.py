"""The device's configuration: one TOML file into checked structs. An unknown key is an error that names file, key and cure."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edge.errors import SonosweepError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PATH = Path("/etc/sonosweep/edge.toml")
Direction = Literal["+", "-", ""]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class ConfigError(SonosweepError):
    """The configuration file cannot be read, or a key or value in it is not known."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class BridgeConfig(Section, frozen=True, kw_only=True):
    """[bridge]: where front ends connect. With ``server_key`` the link is CURVE-encrypted and ``allowed_keys`` is the list."""

    endpoint: str = "tcp://127.0.0.1:5555"
    queue_frames: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 16
    largest_message_mib: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    server_key: str = ""  # file with the bridge's secret CURVE key (*.key_secret)
    allowed_keys: str = ""  # folder with the public keys (*.key) of the front ends that may connect
    real_time: bool = False  # ask for SCHED_FIFO; where it is refused, the bridge says so and runs as it is
    sweeps: Literal["probe", "operator"] = "probe"  # who says where a sweep begins and ends: the front end, or the tablet's start and stop


class MotionConfig(Section, frozen=True, kw_only=True):
    """[motion]: where poses come from, and the direction in which the operator sweeps."""

    source: Literal["recorded", "constant", "decorrelation", "network"] = "network"
    model: str = "small"  # for source = "network": the name of a bundle that comes with the package, or the path of one (folder or .zip)
    preset: str = ""  # JSON from `sonosweep calibrate constant`, `decorrelation` or (for the network) `domain`, for that source
    speed_mm_s: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 10.0  # constant motion without a preset: elevational speed
    direction: Direction = ""  # "" = not verified: taken as + and said so
    backend: Literal["auto", "trt", "ort"] = "auto"  # trt: TensorRT, with an engine from `sonosweep export engine`
    variant: str = "auto"  # of the bundle, such as fp32 or int8-fp16; a variant or backend that is named is never replaced by another


class VolumeConfig(Section, frozen=True, kw_only=True):
    """[volume]: how frames become voxels."""

    spacing_mm: Annotated[float, msgspec.Meta(ge=0.01, le=10)] = 0.5
    compounding: Literal["mean", "maximum", "latest"] = "mean"
    max_gap_mm: Annotated[float, msgspec.Meta(ge=0, le=100)] = 2.0
    memory_limit_mib: Annotated[int, msgspec.Meta(ge=1)] = 4096
    fill_holes: bool = False
    backend: Literal["auto", "host", "cuda"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0  # 0 = all cores
    save: str = ""  # folder for the volume of each finished sweep; "" = none is written
    silent_after_s: Positive = 5.0  # a sweep ends when the probe is silent for so long


class RecordConfig(Section, frozen=True, kw_only=True):
    """[record]: where sweeps are kept."""

    folder: str = "/var/lib/sonosweep/sweeps"
    sync_ms: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 200  # chunk closed and data on the disk at least so often
    keep_free_mib: Annotated[int, msgspec.Meta(ge=0)] = 512  # the recording stops with DISK_FULL before less is free


class TabletConfig(Section, frozen=True, kw_only=True):
    """[tablet]: where tablets find the device, and how they are kept out. ``secure = false``: plain http, without patient names."""

    address: str = "0.0.0.0"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8443  # 0 = any free one
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?\Z")] = "sonosweep"  # tablets find it as NAME.local
    secure: bool = True
    folder: str = "/var/lib/sonosweep/tablet"  # keys, the paired tablets, the audit log
    frames_per_s: Annotated[float, msgspec.Meta(gt=0, le=120)] = 30.0  # live images shown; every one is recorded
    clients: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8


class Config(Section, frozen=True, kw_only=True):
    """The whole file."""

    run_dir: str = "/run/sonosweep"
    bridge: BridgeConfig = BridgeConfig()
    motion: MotionConfig = MotionConfig()
    volume: VolumeConfig = VolumeConfig()
    record: RecordConfig = RecordConfig()
    tablet: TabletConfig = TabletConfig()


def load(path: Path | None) -> Config:
    """Read ``path``; without one the default file where it exists, else the defaults."""
    if path is None:
        if not DEFAULT_PATH.exists():
            return Config()
        path = DEFAULT_PATH
    try:
        return parse(path.read_text(), str(path))
    except OSError as wrong:
        raise ConfigError(f"{path}: {wrong.strerror}; name a file with --config") from wrong
    except UnicodeDecodeError as wrong:
        raise ConfigError(f"{path}: is not text in UTF-8") from wrong


def parse(text: str, name: str) -> Config:
    """TOML text into a :class:`Config`; ``name`` is what errors call the file."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigError(f"{name}: is not TOML: {wrong}") from wrong
    _refuse_unknown(values, Config, name, "")
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"{name}: {wrong}") from wrong


def _refuse_unknown(values: dict[str, Any], kind: type[msgspec.Struct], name: str, prefix: str) -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in values.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            cure = f"did you mean {prefix}{close[0]}?" if close else f"known: {', '.join(prefix + f for f in fields)}"
            raise ConfigError(f"{name}: {prefix}{key} is not known; {cure}")
        if isinstance(value, dict) and isinstance(fields[key], type) and issubclass(fields[key], msgspec.Struct):
            _refuse_unknown(value, fields[key], name, f"{prefix}{key}.")
