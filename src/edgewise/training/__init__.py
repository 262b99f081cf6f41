"""Training as inference: a training step is an ordinary ONNX graph, run by the stock runtime."""
