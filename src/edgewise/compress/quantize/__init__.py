"""Passes that store and compute in fewer bits: integers for layers, halves for floats, with what was lost kept small."""
