"""The device's configuration as checked structs, each key with its meaning. An unknown one is an error that names file, key and cure."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.errors import SonosweepError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PATH = Path("/etc/sonosweep/edge.toml")
Direction = Literal["+", "-", ""]


class ConfigError(SonosweepError):
    """The configuration file cannot be read, or a key or value in it is not known."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class BridgeConfig(Section, frozen=True, kw_only=True):
    """[bridge]: where front ends connect. With ``server_key`` the link is CURVE-encrypted and ``allowed_keys`` is the list."""

    endpoint: Annotated[str, Meta(description="where front ends connect: tcp:// or ipc://")] = "tcp://127.0.0.1:5555"
    queue_frames: Annotated[int, Meta(ge=1, le=1024, description="messages that wait for each front end before it is held back")] = 16
    largest_message_mib: Annotated[int, Meta(ge=1, le=1024, description="of one part of a message; what is larger is refused")] = 32
    server_key: Annotated[str, Meta(description="file with the bridge's secret CURVE key (*.key_secret)")] = ""
    allowed_keys: Annotated[str, Meta(description="folder with the public keys (*.key) of the front ends that may connect")] = ""
    real_time: Annotated[bool, Meta(description="ask for SCHED_FIFO; where it is refused, the bridge says so and runs as it is")] = False
    sweeps: Annotated[
        Literal["probe", "operator"],
        Meta(description="who says where a sweep begins and ends: the front end, or the tablet's start and stop"),
    ] = "probe"


class MotionConfig(Section, frozen=True, kw_only=True):
    """[motion]: where poses come from, and the direction in which the operator sweeps."""

    source: Annotated[
        Literal["recorded", "constant", "decorrelation", "network"],
        Meta(description="a tracker's poses (recorded), or what estimates them"),
    ] = "network"
    model: Annotated[
        str, Meta(description='for source = "network": a bundle that comes with the package, or the path of one (folder or .zip)')
    ] = "small"
    preset: Annotated[
        str, Meta(description="JSON from `sonosweep calibrate constant`, `decorrelation` or (for the network) `domain`, for that source")
    ] = ""
    speed_mm_s: Annotated[float, Meta(ge=0, le=1000, description="constant motion without a preset: elevational speed")] = 10.0
    direction: Annotated[Direction, Meta(description='in which the operator sweeps; "" is not verified: taken as + and said so')] = ""
    backend: Annotated[
        Literal["auto", "trt", "ort"], Meta(description="trt: TensorRT, with an engine from `sonosweep export engine`; ort: ONNX Runtime")
    ] = "auto"
    variant: Annotated[str, Meta(description="of the bundle, such as fp32 or int8-fp16; one that is named is never replaced")] = "auto"


class VolumeConfig(Section, frozen=True, kw_only=True):
    """[volume]: how frames become voxels."""

    spacing_mm: Annotated[float, Meta(ge=0.01, le=10, description="edge of a voxel")] = 0.5
    compounding: Annotated[Literal["mean", "maximum", "latest"], Meta(description="what a voxel becomes that several frames have seen")] = (
        "mean"
    )
    max_gap_mm: Annotated[float, Meta(ge=0, le=100, description="between frames so far apart voxels are interpolated and flagged")] = 2.0
    light_max_gap_mm: Annotated[float, Meta(ge=0, le=100, description="the same between photoacoustic frames of one wavelength")] = 2.8
    memory_limit_mib: Annotated[int, Meta(ge=1, description="of the volume; then the sweep ends with VOLUME_FULL")] = 4096
    fill_holes: Annotated[bool, Meta(description="fill what stayed empty between measured voxels; filled ones are flagged")] = False
    pulse_energy_mj: Annotated[
        float, Meta(ge=0, le=1e6, description="photoacoustic samples are scaled to it where the probe tells its laser's energy; 0 = off")
    ] = 0.0
    backend: Annotated[Literal["auto", "host", "cuda"], Meta(description="where the volume is computed")] = "auto"
    threads: Annotated[int, Meta(ge=0, le=1024, description="of the CPU; 0 = all cores")] = 0
    save: Annotated[str, Meta(description='folder for the volume of each finished sweep; "" = none is written')] = ""
    silent_after_s: Annotated[float, Meta(gt=0, description="a sweep ends when the probe is silent for so long")] = 5.0


class RecordConfig(Section, frozen=True, kw_only=True):
    """[record]: where sweeps are kept."""

    folder: Annotated[str, Meta(description="recordings, and what is known of each")] = "/var/lib/sonosweep/sweeps"
    sync_ms: Annotated[int, Meta(ge=10, le=10_000, description="chunk closed and data on the disk at least so often")] = 200
    keep_free_mib: Annotated[int, Meta(ge=0, description="the recording stops with DISK_FULL before less is free")] = 512
    quota_mib: Annotated[
        int, Meta(ge=0, description="above it the oldest sweeps go that were saved and fetched by a tablet, no others; 0 = none ever goes")
    ] = 0
    warn_free_mib: Annotated[int, Meta(ge=0, description="DISK_NEARLY_FULL, before a sweep begins, where less is free")] = 2048


class TabletConfig(Section, frozen=True, kw_only=True):
    """[tablet]: where tablets find the device, and how they are kept out."""

    address: Annotated[str, Meta(description="the network interface to listen on; 0.0.0.0 = all")] = "0.0.0.0"
    port: Annotated[int, Meta(ge=0, le=65535, description="0 = any free one")] = 8443
    name: Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?\Z", description="tablets find the device as NAME.local")] = (
        "sonosweep"
    )
    secure: Annotated[bool, Meta(description="false: plain http, for a network of the device's own, without patient names")] = True
    folder: Annotated[str, Meta(description="keys, the paired tablets, the audit log")] = "/var/lib/sonosweep/tablet"
    frames_per_s: Annotated[float, Meta(gt=0, le=120, description="live images shown; every one is recorded")] = 30.0
    clients: Annotated[int, Meta(ge=1, le=64, description="tablets at the same time")] = 8


class DeviceConfig(Section, frozen=True, kw_only=True):
    """[device]: what the tablet page shows of the product."""

    product: Annotated[str, Meta(max_length=60, description='its name, as title of the page; "" = sonosweep')] = ""
    logo: Annotated[str, Meta(description="file of a picture (.svg or .png, 64 KiB at most), shown in the settings")] = ""
    presets: Annotated[str, Meta(description="folder of what exams can begin with (*.toml), in the place of the built-in ones")] = ""


class FeaturesConfig(Section, frozen=True, kw_only=True):
    """[features]: what a product does not offer is switched off here: the page leaves it out, and the device refuses it by name."""

    export: Annotated[bool, Meta(description="files and pictures of sweeps are made and fetched by tablets")] = True
    dicom: Annotated[bool, Meta(description="DICOM is among what tablets export")] = True
    deletion: Annotated[bool, Meta(description="sweeps are discarded and deleted by tablets")] = True
    measurement: Annotated[bool, Meta(description="sweeps are measured and annotated on tablets")] = True
    oxygen: Annotated[bool, Meta(description="tablets show oxygen saturation; off where the probe's light is log-compressed")] = True
    openigtlink: Annotated[bool, Meta(description="`sonosweep igtl serve` may show the device to OpenIGTLink clients")] = True


class MetricsConfig(Section, frozen=True, kw_only=True):
    """[metrics]: figures of the services for Prometheus, without patient data; served by the tablet's gateway."""

    port: Annotated[int, Meta(ge=0, le=65535, description="http://127.0.0.1:PORT/metrics, from this machine only; 0 = off")] = 0


class DicomConfig(Section, frozen=True, kw_only=True):
    """[dicom]: the clinic's PACS and worklist, and what objects say of this device. Needs the extra ``dicom``."""

    folder: Annotated[str, Meta(description="the queue of what is to be sent; holds patient data")] = "/var/lib/sonosweep/dicom"
    aet: Annotated[str, Meta(min_length=1, max_length=16, description="this device's application entity title")] = "SONOSWEEP"
    address: Annotated[str, Meta(description="the network interface on which storage commitments are heard")] = "0.0.0.0"
    port: Annotated[int, Meta(ge=0, le=65535, description="where the PACS reports storage commitments; 0 = any free one")] = 11112
    pacs_host: Annotated[str, Meta(description='PACS for C-STORE; "" = none')] = ""
    pacs_port: Annotated[int, Meta(ge=1, le=65535, description="of the PACS")] = 104
    pacs_aet: Annotated[str, Meta(min_length=1, max_length=16, description="application entity title of the PACS")] = "PACS"
    commitment: Annotated[
        bool, Meta(description="ask the PACS to commit itself to what it stored; objects stay in the queue until then")
    ] = True
    stow_url: Annotated[
        str, Meta(description='DICOMweb root for STOW-RS, such as https://pacs/dicom-web, instead of a PACS; "" = none')
    ] = ""
    stow_token: Annotated[str, Meta(description="file with a bearer token for STOW-RS")] = ""
    worklist_host: Annotated[str, Meta(description='Modality Worklist; "" = none')] = ""
    worklist_port: Annotated[int, Meta(ge=1, le=65535, description="of the worklist")] = 104
    worklist_aet: Annotated[str, Meta(min_length=1, max_length=16, description="application entity title of the worklist")] = "WORKLIST"
    tls_ca: Annotated[str, Meta(description='file of the authorities (PEM) to trust; for C-STORE and worklist "" = no TLS')] = ""
    tls_certificate: Annotated[str, Meta(description="this device's certificate (PEM), where the PACS asks for one")] = ""
    tls_key: Annotated[str, Meta(description="its private key (PEM)")] = ""
    timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="of silence, and the PACS counts as unreachable; an object may take longer, at 10 kB/s")
    ] = 30.0
    retry_s: Annotated[float, Meta(gt=0, le=86_400, description="before the first new attempt; doubled after each")] = 5.0
    longest_retry_s: Annotated[float, Meta(gt=0, le=604_800, description="between attempts at most")] = 900.0
    compression: Annotated[
        Literal["none", "rle", "jpeg-ls", "jpeg2000"],
        Meta(description="of pixels, without loss; none is read by everything, speckle compresses badly; jpeg: extra dicom-jpeg"),
    ] = "none"
    manufacturer: Annotated[str, Meta(min_length=1, max_length=64, description="in every object")] = "sonosweep"
    model: Annotated[str, Meta(min_length=1, max_length=64, description="in every object")] = "sonosweep"
    serial: Annotated[str, Meta(min_length=1, max_length=64, description="of the device, in every object that names somebody")] = "unknown"
    institution: Annotated[str, Meta(max_length=64, description='"" = left out; never in anonymous objects')] = ""
    mechanical_index: Annotated[
        float, Meta(ge=-1, le=100, description="of the probe's largest output, where the probe does not send it; -1 = not known")
    ] = -1.0
    thermal_index: Annotated[
        float, Meta(ge=-1, le=100, description="likewise, the largest of bone, cranial and soft tissue; -1 = not known")
    ] = -1.0
    focus_mm: Annotated[float, Meta(ge=0, le=1000, description="depth of focus where the probe does not send it; 0 = not known")] = 0.0
    wavelengths_nm: Annotated[str, Meta(description='of the laser, such as "750 850", where the probe does not send them')] = ""


class Config(Section, frozen=True, kw_only=True):
    """The whole file."""

    run_dir: Annotated[str, Meta(description="folder of the services' sockets")] = "/run/sonosweep"
    device: DeviceConfig = DeviceConfig()
    features: FeaturesConfig = FeaturesConfig()
    bridge: BridgeConfig = BridgeConfig()
    motion: MotionConfig = MotionConfig()
    volume: VolumeConfig = VolumeConfig()
    record: RecordConfig = RecordConfig()
    tablet: TabletConfig = TabletConfig()
    metrics: MetricsConfig = MetricsConfig()
    dicom: DicomConfig = DicomConfig()


def load(path: Path | None) -> Config:
    """The configuration in ``path`` and its drop-ins; without one the device's own, else the defaults."""
    return read_layers(layers(path)).config


class Layered(msgspec.Struct, frozen=True):
    """The effective configuration, and the file that each key comes from; a key that no file names has its default."""

    config: Config
    origin: dict[str, str]  # such as volume.spacing_mm


def layers(path: Path | None) -> list[Path]:
    """The files that count, weakest first: ``edge.toml``, then ``edge.d/*.toml`` beside it in the order of their names."""
    main = path or DEFAULT_PATH
    named, drop_ins = [main] if path is not None or main.exists() else [], main.with_suffix(".d")
    if drop_ins.is_dir() and not os.access(drop_ins, os.R_OK | os.X_OK):  # glob would find nothing and say nothing
        raise ConfigError(f"{drop_ins}: may not be read; give the service's user the right to, or use sudo")
    return [*named, *sorted(drop_ins.glob("*.toml"))]


def read_layers(paths: list[Path]) -> Layered:
    """Tables are merged, the last file that names a key wins. ``ConfigError`` names the file that is wrong."""
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for path in paths:
        try:
            values = checked(path.read_text(), str(path))
        except OSError as wrong:
            raise ConfigError(f"{path}: {wrong.strerror}; name a file with --config") from wrong
        except UnicodeDecodeError as wrong:
            raise ConfigError(f"{path}: is not text in UTF-8") from wrong
        for key, value in values.items():
            if isinstance(value, dict):
                merged[key] = merged.get(key, {}) | value
                origin |= {f"{key}.{inner}": str(path) for inner in value}
            else:
                merged[key], origin[key] = value, str(path)
    return Layered(msgspec.convert(merged, Config), origin)


def parse(text: str, name: str) -> Config:
    """TOML text into a :class:`Config`; ``name`` is what errors call the file."""
    return msgspec.convert(checked(text, name), Config)


def toml(text: str, name: str) -> dict[str, Any]:
    """What TOML text says; ``ConfigError`` where it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigError(f"{name}: is not TOML: {wrong}") from wrong


def checked(text: str, name: str) -> dict[str, Any]:
    """The values that TOML text sets; ``ConfigError`` where one is not known or not possible."""
    values = toml(text, name)
    _refuse_unknown(values, Config, name, "")
    try:
        msgspec.convert(values, Config)
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"{name}: {wrong}") from wrong
    return values


def sections() -> dict[str, type[Section]]:
    """The tables of the file by name, in its order."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(Config)}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}


def _refuse_unknown(values: dict[str, Any], kind: type[Section], name: str, prefix: str) -> None:
    fields = [field.name for field in msgspec.structs.fields(kind)]
    tables = sections() if kind is Config else {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"{name}: {prefix}{key} is not known; {_nearest(key, fields, prefix)}")
        if key in tables and isinstance(value, dict):
            _refuse_unknown(value, tables[key], name, f"{key}.")


def _nearest(key: str, fields: list[str], prefix: str) -> str:
    elsewhere = [table for table, kind in sections().items() if key in kind.__struct_fields__]
    if elsewhere:
        return f"did you mean {elsewhere[0]}.{key}?"
    if close := difflib.get_close_matches(key, fields, n=1):
        return f"did you mean {prefix}{close[0]}?"
    return f"known: {', '.join(prefix + field for field in fields)}"
