"""Fitting the device to a probe and to the way it is moved."""
