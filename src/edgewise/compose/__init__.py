"""The only wiring: where the parts below become `load`, `pack`, `verify`, `evaluate` and the demo."""
