"""An N-wire phantom under a simulated tracked probe: images with speckle, false dots and wrong poses, and the true ImageToProbe."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from calibration.phantom import Phantom, read_phantom

WIRES = (  # top to bottom; the diagonals differ, so that three middle dots never lie on one line
    ("30 0 20", "30 40 20", "55 0 20", "35 40 20", "60 0 20", "60 40 20"),
    ("30 0 10", "30 40 10", "35 0 10", "55 40 10", "60 0 10", "60 40 10"),
    ("35 0 0", "35 40 0", "55 0 0", "40 40 0", "60 0 0", "60 40 0"),
)
PHANTOM_TO_REFERENCE = "0.02 -0.01 -0.99975 15.6 -0.9998 0.007 -0.0201 -25.3 0.0072 0.99993 -0.00985 -40.7 0 0 0 1"
WIDTH, HEIGHT = 400, 300
SPACING_MM = (0.15, 0.14)


def turned(x: float, y: float, z: float) -> np.ndarray:
    """Rotation by three angles in rad."""
    c, s = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    return np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]]) @ about_y @ about_x


def placed(rotation: np.ndarray, origin: tuple[float, ...] | np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, origin
    return matrix


SCALE = np.diag([*SPACING_MM, np.mean(SPACING_MM), 1])
TRUE_IMAGE_TO_PROBE = placed(turned(0.2, -0.3, 1.6), (12.0, 40.0, -5.0)) @ SCALE


def write_phantom(path: Path, *, registered: bool = True, wires=WIRES, spacing: str = 'ApproximateSpacingMmPerPixel="0.15"') -> Path:
    """A PLUS configuration with the phantom."""
    registration = f'<Transform From="Phantom" To="Reference" Matrix="{PHANTOM_TO_REFERENCE}" Error="0.1"/>' if registered else ""
    patterns = "".join(
        '<Pattern Type="NWire">'
        + "".join(f'<Wire Name="{i}" EndPointFront="{row[2 * i]}" EndPointBack="{row[2 * i + 1]}"/>' for i in range(3))
        + "</Pattern>"
        for row in wires
    )
    path.write_text(
        f"<PlusConfiguration><CoordinateDefinitions>{registration}</CoordinateDefinitions><Segmentation {spacing}/>"
        f'<PhantomDefinition><Description Name="test" Version="1"/><Geometry>{patterns}</Geometry></PhantomDefinition></PlusConfiguration>'
    )
    return path


def true_matrix(text: str = PHANTOM_TO_REFERENCE) -> np.ndarray:
    """PhantomToReference of :func:`write_phantom`."""
    return np.array(text.split(), float).reshape(4, 4)


def true_poses(count: int, seed: int) -> list[np.ndarray]:
    """ImageToPhantom: down through the phantom, from right to left, turned by up to 12 degrees, all along the wires."""
    random = np.random.default_rng(seed)
    found = []
    for share in np.linspace(0.2, 0.8, count):
        down = np.column_stack([[-1, 0, 0], [0, 0, -1], np.cross([-1, 0, 0], [0, 0, -1])])  # lateral, axial, elevational
        tilt = turned(*random.uniform(-0.2, 0.2, 3))
        centre = np.array([45.5, 40 * share, 10]) + random.normal(0, 1.5, 3)
        rotation = tilt @ down
        middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2, 0]) * [*SPACING_MM, 1]
        found.append(placed(rotation, centre - rotation @ middle) @ SCALE)
    return found


def draw(
    image_to_phantom: np.ndarray, phantom: Phantom, random: np.random.Generator, *, speckle: float = 22.0, false_dots: int = 3
) -> np.ndarray:
    """One image [rows, columns] uint8."""
    normal = np.cross(image_to_phantom[:3, 0], image_to_phantom[:3, 1])
    cut = phantom.intersections_mm(image_to_phantom[:3, 3], normal)
    at = (np.linalg.inv(image_to_phantom) @ np.column_stack([cut, np.ones(len(cut))]).T)[:2].T
    at = at + random.normal(0, 0.05, at.shape) / SPACING_MM
    false = random.uniform([15, 15], [WIDTH - 15, HEIGHT - 15], (false_dots, 2))
    image = random.rayleigh(speckle / 1.25, (HEIGHT, WIDTH)) if speckle else np.zeros((HEIGHT, WIDTH))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for (x, y), size in zip([*at, *false], random.uniform(110, 240, len(at) + false_dots), strict=True):
        width, height = random.uniform(0.35, 0.6), random.uniform(0.18, 0.3)
        image += size * np.exp(-(((columns - x) * SPACING_MM[0] / width) ** 2 + ((rows - y) * SPACING_MM[1] / height) ** 2) / 2)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_wire_sequence(path: Path, phantom_path: Path, *, count: int = 40, seed: int = 1, wrong_poses: int = 0, **drawn: float) -> Path:
    """A PLUS sequence with ProbeToReference; ``wrong_poses`` images, spread out, have one that is 6 mm off."""
    phantom, random = read_phantom(phantom_path), np.random.default_rng(seed + 100)
    poses = true_poses(count, seed)
    images = np.stack([draw(pose, phantom, random, **drawn) for pose in poses])
    to_reference, from_probe = true_matrix(), np.linalg.inv(TRUE_IMAGE_TO_PROBE)
    probes = [to_reference @ pose @ from_probe for pose in poses]
    for index in np.linspace(1, count - 2, wrong_poses).astype(int):
        probes[index] = placed(np.eye(3), random.normal(0, 1, 3) * 6 / np.sqrt(3) + [4, 0, 0]) @ probes[index]
    return write_sequence(path, images, probes)


def write_sequence(
    path: Path, images: np.ndarray, probes: list[np.ndarray], times_s: np.ndarray | None = None, spacing: str = "1 1 1"
) -> Path:
    """MetaImage as PLUS writes it, with ProbeToReference."""
    times_s = np.arange(len(images)) / 20 if times_s is None else times_s
    data = zlib.compress(images.tobytes())
    head = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "CompressedData = True", f"CompressedDataSize = {len(data)}"]
    head += [f"DimSize = {images.shape[2]} {images.shape[1]} {len(images)}", "Kinds = domain domain list", f"ElementSpacing = {spacing}"]
    head += ["ElementType = MET_UCHAR", "UltrasoundImageOrientation = MF"]
    for index, (matrix, time_s) in enumerate(zip(probes, times_s, strict=True)):
        head += [f"Seq_Frame{index:04d}_ProbeToReferenceTransform = {' '.join(f'{v:.10g}' for v in matrix.ravel())}"]
        head += [f"Seq_Frame{index:04d}_ProbeToReferenceTransformStatus = OK", f"Seq_Frame{index:04d}_Timestamp = {time_s:.6f}"]
    path.write_bytes("\n".join([*head, "ElementDataFile = LOCAL", ""]).encode() + data)
    return path
