"""Passes that change the form of a graph and none of its answers."""
