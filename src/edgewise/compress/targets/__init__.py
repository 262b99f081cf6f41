"""Which operators run on which runtime, and what that means for a model."""
