"""TensorRT engines for the machine at hand: built in a process that may die, proved, and kept with a card of all they depend on.

Runs on the device at its first boot: neither torch nor onnx is needed.
"""
