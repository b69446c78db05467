"""How the image of a geometry lies once it is placed: as it came from a linear probe, scan-converted from a convex one."""

from __future__ import annotations

from edge.compounding.scan_conversion import ScanTable, Sector, extent
from edge.messages import Geometry


def scan_table(geometry: Geometry) -> ScanTable | None:
    """The look-up of a convex geometry's scan conversion; None for a linear one. Raises BadSector."""
    return None if geometry.kind == "linear" else ScanTable(_sector(geometry), geometry.spacing_mm[0])


def placed_size(geometry: Geometry) -> tuple[int, int]:
    """(columns, rows) of the image that is placed: a convex one after scan conversion. Raises BadSector."""
    table = scan_table(geometry)
    return (geometry.width, geometry.height) if table is None else (table.valid.shape[1], table.valid.shape[0])


def first_row_mm(geometry: Geometry) -> float:
    """How far below the point where a convex probe's beams meet the first row of the placed image lies; 0 of a linear one."""
    return 0.0 if geometry.kind == "linear" else extent(_sector(geometry), geometry.spacing_mm[0])[2]


def _sector(geometry: Geometry) -> Sector:
    return Sector(
        beams=geometry.width,
        samples=geometry.height,
        radius_start_mm=geometry.radius_start_mm,
        radius_stop_mm=geometry.radius_stop_mm,
        angle_start_deg=geometry.angle_start_deg,
        angle_stop_deg=geometry.angle_stop_deg,
    )
