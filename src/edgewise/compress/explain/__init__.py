"""What differs between two forms of a model, and where: layers, decisions, bytes, milliseconds."""
