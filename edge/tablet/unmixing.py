"""What a tablet's page is told to unmix oxygenated and deoxygenated blood with: the numbers of edge/oxygenation.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.oxygenation import FIRST_NM, LAST_NM, MOST_ROUNDING, BadWavelengths, Settings, extinctions


def unmixing(light: Mapping[int, int]) -> dict[str, Any] | None:
    """``oxygen`` of the ``light`` message, of channels' wavelengths (nm, 0: not told); None where fewer than two are told.

    Wavelengths outside of the table have no part in it. Where the others cannot tell the two apart it names no channels."""
    told = {nm: channel for channel, nm in light.items() if nm}
    if len(told) < 2:
        return None
    used = [nm for nm in sorted(told) if FIRST_NM <= nm <= LAST_NM]
    try:
        matrix = extinctions(used)
    except BadWavelengths:
        return {"wavelengths_nm": sorted(told), "channels": []}
    settings = Settings()
    return {
        "wavelengths_nm": used,
        "channels": [told[nm] for nm in used],
        "extinction": matrix.tolist(),
        "threshold": settings.threshold,
        "edge_share": settings.edge_share,
        "most_rounding": MOST_ROUNDING,
    }
