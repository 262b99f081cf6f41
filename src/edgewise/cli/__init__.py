"""The command line. Each command is a module with ``register`` (its arguments) and ``run`` (what it does)."""
