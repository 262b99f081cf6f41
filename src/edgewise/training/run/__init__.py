"""Running a training step: NumPy and onnxruntime, nothing that builds graphs."""
