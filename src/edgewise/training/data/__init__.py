"""Training data: from files to batches, the same ones whenever they are asked for. NumPy only, but for the tables."""
