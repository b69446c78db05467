"""A probe that needs no probe: phantoms with known truth, speckle that decorrelates with distance, freehand paths."""
