"""Augmentation: what is changed about training samples, drawn anew each epoch."""
