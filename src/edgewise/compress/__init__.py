"""Making models smaller and faster, with what was lost measured: passes, the search among them, explanations."""
