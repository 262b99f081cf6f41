"""Building a training step: forward, loss, backward and optimiser as one ONNX graph."""
