"""Reference networks, written directly as ONNX.

``registry.build(name, config, seed)`` gives a model in its inference form; ``registry.NETWORKS`` says what there is. Pure: no
disk, no clock, and no chance but the seed. Needs the package onnx.
"""
