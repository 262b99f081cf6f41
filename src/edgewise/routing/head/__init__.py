"""A learnt deferral head: a few nodes behind a classifier that say how likely its answer is upstream's too."""
