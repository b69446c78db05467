"""A probe that needs no probe: phantoms with known truth, speckle that decorrelates with distance, freehand paths."""

from edge.simulation.blood import VesselPhantom
from edge.simulation.display import Display
from edge.simulation.phantom import Phantom
from edge.simulation.simulate import SCANNER_PERSISTENCE, Convex, SimulatedFrame, SimulatedSweep, SimulationSettings, simulate_sweep
from edge.simulation.speckle import PointSpread, SpeckleField
from edge.simulation.sweep_file import as_frames, write_simulated_sweep
from edge.simulation.trajectory import Freehand, freehand_path

__all__ = [
    "simulate_sweep",
    "SimulationSettings",
    "SimulatedSweep",
    "SimulatedFrame",
    "as_frames",
    "write_simulated_sweep",
    "Phantom",
    "VesselPhantom",
    "Display",
    "PointSpread",
    "SpeckleField",
    "Freehand",
    "freehand_path",
    "Convex",
    "SCANNER_PERSISTENCE",
]
