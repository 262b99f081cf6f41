"""Reverse-mode differentiation of ONNX graphs: one rule per operator, each emitting the form that is fast on onnxruntime."""
