"""ONNX models as values: read safely, described, and extended with what stands in front of them and behind. Pure.

Needs the package onnx (extra ``pack``). Nothing between loading a bundle and an answer imports this package.
"""
