"""Structured pruning: channels, neurons, heads, hidden units and whole blocks taken out, so that the graph is really smaller."""
