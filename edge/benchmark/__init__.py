"""Measuring this machine: one table of stages (``stages.STAGES``), each a function that answers with records of what it measured.

Needs nothing that the device does not have; the reference algorithms to compare with are written here and used nowhere else.
"""
