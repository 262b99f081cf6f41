"""What arrives from outside (ONNX, TFLite, hub repositories, ONNX Runtime packages) becomes parts of a bundle."""
