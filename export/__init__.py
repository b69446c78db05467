"""From a trained network to a bundle that a device can trust. The only package that may import onnx."""
