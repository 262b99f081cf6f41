"""Losses, written into a step graph."""
